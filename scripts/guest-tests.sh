#!/bin/sh
# Runs a part of numpy's own tests in the sandbox: scripts/guest-tests.sh, by `make guest-tests`.
# It takes the guest that `make guest` left, with the source that this was built from.
set -eu
cd "$(dirname "$0")/.."
CACHE=${BELLJAR_GUEST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/belljar}
MINOR=$(scripts/python-table.sh default)
eval "$(TABLE=sandbox/guest/packages/packages.toml scripts/python-table.sh show numpy)"
TESTS=$CACHE/work/tests-$(basename "$TARBALL" .tar.gz)
if ! [ -e "$TESTS/complete" ]; then
    rm -rf "$TESTS"
    mkdir -p "$TESTS"
    # The tests alone: the package itself is the guest's.
    tar -xf "$CACHE/work/sources/$TARBALL" -C "$TESTS" --strip-components=1 --wildcards '*/numpy/*/tests/*.py' '*/numpy/*/tests/data/*'
    "python$MINOR" -m venv "$TESTS/venv"
    "$TESTS/venv/bin/pip" install --quiet --target "$TESTS" --only-binary :all: --platform any --no-deps --require-hashes \
        -r sandbox/guest/packages/test-tools.txt
    touch "$TESTS/complete"
fi
BELLJAR_NUMPY_TESTS=$TESTS cargo test --locked -p belljar-sandbox --test packages -- --ignored --nocapture
