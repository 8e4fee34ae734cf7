#!/bin/sh
# libyaml, for PyYAML. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
for unit in api reader scanner parser loader writer emitter dumper; do
    $CC $PACKAGE_CFLAGS -DYAML_VERSION_STRING='"0.2.5"' -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 -Iinclude \
        -c "src/$unit.c" -o "$unit.o"
done
$AR rcs "$OUT/libyaml.a" ./*.o
cp -r include "$OUT/include"
: >"$OUT/modules"
cd "$OUT"
rm -r src
