#!/bin/sh
# Writes what a release consists of, as CycloneDX: its crates, the Python packages beside it, the dashboard's library,
# and what the sandbox's guests are built from.
#
# usage: scripts/sbom.sh OUTPUT
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh
CYCLONEDX=0.5.9

output=$(realpath -m "$1")
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
# It writes beside each crate's manifest: into a copy, so that this checkout stays as it is.
git ls-files -z | xargs -0 cp --parents -t "$parts"
cargo_tool cargo-cyclonedx "$CYCLONEDX" cyclonedx --quiet --manifest-path "$parts/Cargo.toml" \
    --format json --spec-version 1.5 --no-build-deps --override-filename crates --target all
make_venv .belljar/audit "/usr/bin/python$(scripts/python-table.sh default)" audit
mkdir -p "$(dirname "$output")"
.belljar/audit/bin/python scripts/sbom.py "$output" "$parts" "$parts"/cli/crates.json "$parts"/interpreter/crates.json \
    "$parts"/sandbox/crates.json
echo "sbom: $output"
