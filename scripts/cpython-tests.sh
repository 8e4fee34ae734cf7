#!/bin/sh
# Runs CPython's own tests in the sandbox: scripts/cpython-tests.sh PROGRAM MINOR >PAGE.md, by `make cpython-tests`.
# It takes the guest that `make guest` left, with the source that this was built from.
set -eu
cd "$(dirname "$0")/.."
CACHE=${BELLJAR_GUEST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/belljar}
eval "$(scripts/python-table.sh show "$2")"
TESTS=$CACHE/work/cpython-tests-$GUEST
if ! [ -e "$TESTS/complete" ]; then
    rm -rf "$TESTS"
    mkdir -p "$TESTS"
    tar -xf "$CACHE/work/sources/$SOURCE_TARBALL" -C "$TESTS" --strip-components=2 --wildcards '*/Lib/test'
    touch "$TESTS/complete"
fi
PYTHON=.belljar/pythons/$2/bin/python
[ "$2" != "$(scripts/python-table.sh default)" ] || PYTHON=.belljar/venv/bin/python
PYTHONPATH=client/src exec "$PYTHON" scripts/cpython_tests.py --belljar "$1" --tests "$TESTS"
