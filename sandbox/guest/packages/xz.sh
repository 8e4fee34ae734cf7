#!/bin/sh
# lzma: the library and CPython's module of it. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
quietly configure.log ./configure --host=wasm32-unknown-wasi CC="$CC" AR="$AR" RANLIB="$RANLIB" CFLAGS="$PACKAGE_CFLAGS" \
    CPPFLAGS="$CPPFLAGS" LIBS="$EMULATED" --disable-shared --disable-threads --disable-xz --disable-xzdec --disable-lzmadec \
    --disable-lzmainfo --disable-lzma-links --disable-scripts --disable-doc --disable-nls --disable-sandbox
# The C library has no signal masks, and nothing here that a signal could interrupt.
echo '#define sigset_t int
#define sigprocmask(how, set, old) 0' >wasi.h
quietly make.log make -C src/liblzma CPPFLAGS="$CPPFLAGS -include $OUT/src/wasi.h"
$CC $PACKAGE_CFLAGS $CPPFLAGS $PYTHON_CFLAGS -Isrc/liblzma/api -c "$PYTHON/src/Modules/_lzmamodule.c" -o module.o
cp src/liblzma/.libs/liblzma.a "$OUT/liblzma.a"
$AR rs "$OUT/liblzma.a" module.o
echo "_lzma liblzma.a" >"$OUT/modules"
cd "$OUT"
rm -r "$OUT/src"
