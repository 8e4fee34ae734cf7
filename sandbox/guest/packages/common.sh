# What the scripts of packages have in common. Sourced, not run.
#
# A script NAME.sh is called as `NAME.sh MINOR PYTHON TARBALL OUT [PACKAGE...]`: PYTHON as python.sh leaves it,
# PACKAGE the results of those that it `needs`. It leaves in OUT, an empty folder that is there already:
#
#   modules   lines `NAME ARCHIVE`: an extension module and the archive with its PyInit function
#   *.a       these archives, and others that they need
#   site/     the Python part, as it is to lie in /site; may be missing
MINOR=$1 PYTHON=$2 TARBALL=$3 OUT=$4
HERE=$(dirname "$(realpath "$0")")/..
. "$HERE/minors.sh"
. "$HERE/toolchain.sh"
row "$MINOR"
find_build_python "$MINOR"
# Not optimised at link time: the interpreter gains by it, these do not, and linking would take minutes.
PACKAGE_CFLAGS="-O3 -DNDEBUG"
PYTHON_CFLAGS="-DPy_BUILD_CORE_BUILTIN -I$PYTHON/src/Include -I$PYTHON/src/Include/internal -I$PYTHON/build"

# usage: unpack DIR      the tarball, without its top folder
unpack() {
    mkdir -p "$1"
    tar -xf "$TARBALL" -C "$1" --strip-components=1
}

# usage: quietly LOG COMMAND...      shows the end of the log where the command fails
quietly() {
    log=$1
    shift
    "$@" >"$log" 2>&1 || { tail -30 "$log" >&2; exit 1; }
}
