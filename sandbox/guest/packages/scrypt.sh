#!/bin/sh
# hashlib.scrypt, of libscrypt: CPython has it of OpenSSL only. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
# Memory as any other: mapped memory would be cleared twice.
echo '#include <sys/mman.h>
#undef MAP_ANON' >wasi.h
for unit in crypto_scrypt-nosse sha256; do
    $CC $PACKAGE_CFLAGS $CPPFLAGS -DHAVE_POSIX_MEMALIGN -include wasi.h -c "$unit.c" -o "$unit.o"
done
$CC $PACKAGE_CFLAGS $CPPFLAGS -I"$PYTHON/src/Include" -I"$PYTHON/build" -I. -c "$HERE/packages/scrypt_module.c" -o module.o
$AR rcs "$OUT/libscrypt.a" ./*.o
echo "_belljar_scrypt libscrypt.a" >"$OUT/modules"
cd "$OUT"
rm -r src
