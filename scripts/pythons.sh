#!/bin/sh
# Builds an interpreter for every further Python on this machine, so that functions from these run too: beside
# `belljar-python`, which is of the default minor, for example `belljar-python3.12`; and a virtual environment with dill for
# each, whose packages functions can import. One that cannot be built is left out with a warning. Quick when
# nothing is missing; safe to run again.
#
# usage: scripts/pythons.sh TARGET      where cargo builds
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh

TARGET=$1
DEFAULT=$(scripts/python-table.sh default)
VERSIONS=$(scripts/python-table.sh list native | grep -vxF "$DEFAULT")
# Of this minor, with a library for other programs and what building against it takes, and with a lock.
IS_FIT='
import os, sys, sysconfig
of = sysconfig.get_config_var
header = os.path.join(sysconfig.get_path("include"), "Python.h")
fit = "%d.%d" % sys.version_info[:2] == sys.argv[1] and of("Py_ENABLE_SHARED") and not of("Py_GIL_DISABLED")
sys.exit(not (fit and os.path.isfile(header)))
'

build() { # build VERSION PYTHON
    [ -e "$TARGET/release/belljar-python$1" ] || echo "pythons: building belljar-python$1 for $2"
    make_venv ".belljar/pythons/$1" "$2" pythons &&
        echo "$PWD/client/src" >"$(echo ".belljar/pythons/$1"/lib/python*/site-packages)/belljar.pth" &&
        PYO3_PYTHON=$2 cargo build --quiet --release --locked --package belljar-interpreter \
            --target-dir "$TARGET/pythons/$1" &&
        scripts/strip.sh "$TARGET/pythons/$1/release" belljar-python || return
    for profile in release debug; do
        mkdir -p "$TARGET/$profile"
        # Never written over: a service may be running it.
        if ! cmp -s "$TARGET/pythons/$1/release/belljar-python" "$TARGET/$profile/belljar-python$1"; then
            cp "$TARGET/pythons/$1/release/belljar-python" "$TARGET/$profile/.belljar-python$1"
            mv "$TARGET/$profile/.belljar-python$1" "$TARGET/$profile/belljar-python$1"
        fi
    done
}

for version in $VERSIONS; do
    python=$(scripts/find-python.sh "$version" "$IS_FIT")
    if [ -n "$python" ]; then
        build "$version" "$python" && continue
        echo "pythons: no interpreter for $python: functions from Python $version will be refused" >&2
    fi
    # It may have been there before.
    rm -f "$TARGET/release/belljar-python$version" "$TARGET/debug/belljar-python$version"
done
