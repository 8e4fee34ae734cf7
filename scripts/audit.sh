#!/bin/sh
# Checks what belljar depends on: the licences and the sources of crates, and known vulnerabilities of crates and
# Python packages. Their databases are fetched; where one cannot be had, this says so and checks the rest.
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh

# Both workspaces: the second is what the sandbox is tested with.
for manifest in Cargo.toml sandbox/reference/Cargo.toml; do
    deny() { cargo_tool cargo-deny "$DENY_VERSION" --all-features --manifest-path "$manifest" "$@"; }
    echo "audit: $manifest"
    deny check --config "$PWD/deny.toml" --hide-inclusion-graph bans licenses sources
    if deny fetch --config "$PWD/deny.toml" db 2>/dev/null; then
        deny check --config "$PWD/deny.toml" --disable-fetch advisories
    else
        echo "audit: the RustSec database cannot be fetched: known vulnerabilities of crates are not looked for" >&2
    fi
done

make_venv .belljar/audit "/usr/bin/python$(scripts/python-table.sh default)" audit
# It names those that it was told nothing about.
for list in requirements/*.txt sandbox/guest/requirements.txt; do
    echo "audit: $list"
    .belljar/audit/bin/pip-audit --progress-spinner off --disable-pip --require-hashes -r "$list"
done
