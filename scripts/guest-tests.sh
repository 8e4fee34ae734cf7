#!/bin/sh
# Runs the tests that the authors of the guest's packages wrote in the sandbox: scripts/guest-tests.sh PROGRAM MINOR >PAGE.md, by
# `make guest-tests`. It takes the guest that `make guest` left, with the sources that this was built from.
set -eu
cd "$(dirname "$0")/.."
CACHE=${BELLJAR_GUEST_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/belljar}
PYTHON=.belljar/pythons/$2/bin/python
[ "$2" != "$(scripts/python-table.sh default)" ] || PYTHON=.belljar/venv/bin/python
PACKAGES="numpy pandas regex msgpack markupsafe pillow lxml"
TESTS=$CACHE/work/package-tests-$2-$(sha256sum sandbox/guest/packages/packages.toml sandbox/guest/packages/test-tools.txt "$0" | sha256sum | cut -c1-16)
if ! [ -e "$TESTS/complete" ]; then
    rm -rf "$TESTS"
    mkdir -p "$TESTS"
    for package in $PACKAGES; do
        eval "$(TABLE=sandbox/guest/packages/packages.toml scripts/python-table.sh show $package)"
        case " $MINORS " in *" $2 "*) ;; *) continue ;; esac
        mkdir "$TESTS/$package"
        # The tests alone: the package itself is the guest's. numpy's conftest.py asks for what its documentation needs.
        tar -xf "$CACHE/work/sources/$TARBALL" -C "$TESTS/$package" --strip-components=1 --transform 's|^\([^/]*\)/src/|\1/|' --wildcards \
            --no-wildcards-match-slash '*/test' '*/tests' '*/Tests' '*/*/tests' '*/*/*/tests' '*/src/lxml/html/tests' '*/pandas/conftest.py' 2>/dev/null || [ -n "$(ls "$TESTS/$package")" ]
    done
    "$PYTHON" -m venv "$TESTS/venv"
    "$TESTS/venv/bin/pip" install --quiet --target "$TESTS" --only-binary :all: --platform any --no-deps --require-hashes \
        -r sandbox/guest/packages/test-tools.txt
    rm -r "$TESTS/venv"
    touch "$TESTS/complete"
fi
PYTHONPATH=client/src exec "$PYTHON" scripts/package_tests.py --belljar "$1" --tests "$TESTS" ${3:+--only $3}
