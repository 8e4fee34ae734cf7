#!/bin/sh
# Installs what building and running belljar needs on Debian 12 and is not there yet; with the word
# `tools`, also what checks and packs the Python client and makes reports; with `browser`, what the
# dashboard is tested with. Quick when nothing is missing; safe to run again. On another system, install
# the counterparts by hand: this script then only makes the venvs.
set -eu
cd "$(dirname "$0")/.."
. scripts/venv.sh

MINOR=$(scripts/python-table.sh default)
PYTHON=/usr/bin/python$MINOR
VENV=.belljar/venv

need=""
want() { # want COMMAND-OR-FILE PACKAGE...
    probe=$1
    shift
    case $probe in
        /*) [ -e "$probe" ] || need="$need $*" ;;
        *) command -v "$probe" >/dev/null 2>&1 || need="$need $*" ;;
    esac
}
want redis-server redis-server
want cc gcc libc6-dev
want "$PYTHON" "python$MINOR"
want "/usr/include/python$MINOR/Python.h" "libpython$MINOR-dev"
want "/usr/lib/python$MINOR/ensurepip" "python$MINOR-venv"
if [ "${1:-}" = browser ]; then
    want chromium chromium
    want chromedriver chromium-driver
fi

if [ -n "$need" ]; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "setup: missing, and there is no apt-get to install them:$need" >&2
        exit 1
    }
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo"
    echo "setup: installing$need"
    $as_root apt-get -qq update
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive $as_root apt-get -qq install -y --no-install-recommends $need >/dev/null
fi

command -v cargo >/dev/null 2>&1 || {
    echo "setup: cargo is missing; install Rust as https://rustup.rs says" >&2
    exit 1
}

make_venv $VENV $PYTHON venv
# The client from this checkout, as it is at any time.
echo "$PWD/client/src" >$VENV/lib/python$MINOR/site-packages/belljar.pth

# In other venvs: functions can import everything in the first one.
if [ "${1:-}" = tools ]; then
    make_venv .belljar/tools $PYTHON tools
    make_venv .belljar/report $PYTHON report
    # Only unpacked: installed, the package would start a Prometheus on this machine.
    if ! command -v promtool >/dev/null 2>&1 && [ ! -x .belljar/prometheus/usr/bin/promtool ] &&
        command -v apt-get >/dev/null 2>&1; then
        echo "setup: fetching promtool and prometheus, which check the alerts"
        mkdir -p .belljar/prometheus
        (cd .belljar/prometheus && apt-get -qq download prometheus && dpkg-deb -x prometheus_*.deb . &&
            rm prometheus_*.deb) || echo "setup: without them the alerts are not checked" >&2
    fi
    if [ ! -x /usr/sbin/nginx ] && [ ! -x .belljar/nginx/usr/sbin/nginx ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: fetching nginx, behind which the gateway is tested"
        mkdir -p .belljar/nginx
        (cd .belljar/nginx && apt-get -qq download nginx && dpkg-deb -x nginx_*.deb . && rm nginx_*.deb) ||
            echo "setup: without it the gateway is not tested behind a proxy" >&2
    fi
fi
