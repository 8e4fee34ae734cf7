#!/bin/sh
# Links CPython, zlib and the shim to one module, and optimises it as a whole.
#
# usage: link.sh MINOR LIBRARIES OUTPUT      LIBRARIES as python.sh leaves them
set -eu
MINOR=$1 LIBRARIES=$(realpath "$2") OUTPUT=$(realpath -m "$3")
HERE=$(dirname "$(realpath "$0")")
. "$HERE/minors.sh"
. "$HERE/toolchain.sh"
row "$MINOR"

cd "$LIBRARIES/build"
# Compiled and linked in two steps: told to optimise, the linking compiler would run `wasm-opt` by itself,
# and without the features that this module needs.
$CC $CFLAGS $CPPFLAGS -I"$LIBRARIES/src/Include" -I"$LIBRARIES/build" -c "$HERE/shim.c" -o "$OUTPUT.o"
$CC $CFLAGS -c "$HERE/errno.c" -o "$OUTPUT.errno.o"
# The stack lies below all data, so that an overflow leaves the memory instead of overwriting the heap.
$CC -flto -mexec-model=reactor "$OUTPUT.o" "$OUTPUT.errno.o" \
    "libpython$MINOR.a" $EXTRA_LIBRARIES "$LIBRARIES/zlib/libz.a" $EMULATED -lm \
    -Wl,-z,stack-size=8388608 -Wl,--stack-first -Wl,--initial-memory=41943040 \
    -Wl,--export=__stack_pointer -Wl,--lto-O3 -Wl,--strip-all -o "$OUTPUT.raw"
wasm-opt -O3 --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int \
    --enable-mutable-globals --strip-debug "$OUTPUT.raw" -o "$OUTPUT"
rm "$OUTPUT.raw" "$OUTPUT.o" "$OUTPUT.errno.o"
