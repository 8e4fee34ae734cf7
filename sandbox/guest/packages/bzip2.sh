#!/bin/sh
# bz2: the library and CPython's module of it. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
for unit in blocksort huffman crctable randtable compress decompress bzlib; do
    $CC $PACKAGE_CFLAGS -DBZ_NO_STDIO -c "$unit.c" -o "$unit.o"
done
# Without standard I/O the library asks for this where it finds a mistake of its own.
echo '#include <stdlib.h>
void bz_internal_error(int code) { (void)code; abort(); }' >error.c
$CC $PACKAGE_CFLAGS -c error.c -o error.o
$CC $PACKAGE_CFLAGS $CPPFLAGS $PYTHON_CFLAGS -I. -c "$PYTHON/src/Modules/_bz2module.c" -o module.o
$AR rcs "$OUT/libbz2.a" ./*.o
echo "_bz2 libbz2.a" >"$OUT/modules"
rm -r "$OUT/src"
