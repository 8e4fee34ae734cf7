#!/bin/sh
# Builds CPython and zlib as static libraries for wasm32-wasi. Slow, and so kept apart from all that
# changes often: the caller caches the result by the hash of this file, the row and the patches.
#
# usage: python.sh MINOR SOURCES WORK
#   SOURCES  the folder with the two tarballs
#   WORK     is created; afterwards it holds src/ (the source tree), build/ (libpython and the
#            generated headers) and zlib/
set -eu
MINOR=$1 SOURCES=$(realpath "$2") WORK=$3
HERE=$(dirname "$(realpath "$0")")
. "$HERE/minors.sh"
. "$HERE/toolchain.sh"
row "$MINOR"
find_build_python "$MINOR"

mkdir -p "$WORK/src" "$WORK/zlib" "$WORK/build"
WORK=$(realpath "$WORK")
tar -xf "$SOURCES/$SOURCE_TARBALL" -C "$WORK/src" --strip-components=1
tar -xf "$SOURCES/$ZLIB_TARBALL" -C "$WORK/zlib" --strip-components=1
for patch in "$HERE/patches/$MINOR"/*.patch; do
    [ -e "$patch" ] && patch -d "$WORK/src" -p1 <"$patch"
done

cd "$WORK/zlib"
for unit in $ZLIB_SOURCES; do
    $CC $CFLAGS -DHAVE_UNISTD_H -c "$unit.c" -o "$unit.o"
done
$AR rcs libz.a ./*.o

# CPython leaves its own allocator out of WASI builds: every small object would cost a malloc. And it takes
# a 32-bit address for a 32-bit processor: integers beyond 15 bits would take the slow paths.
cd "$WORK/build"
env $CONFIGURE_CACHE CONFIG_SITE="$WORK/src/Tools/wasm/config.site-wasm32-wasi" \
    CC="$CC" CXX="$CXX" AR="$AR" RANLIB="$RANLIB" PKG_CONFIG=/bin/false \
    CPPFLAGS="$CPPFLAGS" LIBS="$EMULATED" CFLAGS="$CFLAGS" \
    ZLIB_CFLAGS="-I$WORK/zlib" ZLIB_LIBS="-L$WORK/zlib -lz" \
    "$WORK/src/configure" -C --host=wasm32-unknown-wasi --build=x86_64-pc-linux-gnu \
    --with-build-python="$BUILD_PYTHON" --with-pymalloc --enable-big-digits=30 --disable-test-modules $CONFIGURE_OPTIONS >configure.log 2>&1 ||
    { tail -30 configure.log >&2; exit 1; }
# The numbers of errors are Linux's for all that is compiled with pyconfig.h: errno.c says how.
sed 's/^X(\(.*\), \(.*\))$/#undef E\1\n#define E\1 \2/' "$HERE/errno.def" | cat "$HERE/linux_errno.h" - >linux_errno.h
echo '#include "linux_errno.h"' >>pyconfig.h
make -j"$(nproc)" "libpython$MINOR.a" >make.log 2>&1 || { tail -30 make.log >&2; exit 1; }
