#!/bin/sh
# Checks what belljar depends on: the licences and the sources of crates, and known vulnerabilities of crates and
# Python packages. Their databases are fetched; where one cannot be had, this says so and checks the rest.
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh
DENY=0.20.2

# Both workspaces: the second is what the sandbox is tested with.
for manifest in Cargo.toml sandbox/reference/Cargo.toml; do
    deny() { cargo_tool cargo-deny "$DENY" --manifest-path "$manifest" --config deny.toml "$@"; }
    echo "audit: $manifest"
    deny check --allow license-not-encountered --hide-inclusion-graph bans licenses sources
    if deny fetch db 2>/dev/null; then
        deny check --hide-inclusion-graph advisories
    else
        echo "audit: the RustSec database cannot be fetched: known vulnerabilities of crates are not looked for" >&2
    fi
done

make_venv .belljar/audit "/usr/bin/python$(scripts/python-table.sh default)" audit
lists=$(printf ' -r %s' requirements/*.txt sandbox/guest/requirements.txt)
echo "audit:$lists"
# Strict: it ends at the first package that the index tells nothing about.
# shellcheck disable=SC2086 # a list of words
found=$(.belljar/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes $lists 2>&1) || {
    case $found in
        *"could not be audited"* | *onnection*)
            echo "audit: the package index tells nothing: known vulnerabilities of Python packages are not looked for" >&2
            exit
            ;;
    esac
    echo "$found" >&2
    exit 1
}
echo "$found"
