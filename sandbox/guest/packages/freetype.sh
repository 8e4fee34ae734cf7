#!/bin/sh
# FreeType, for Pillow. Pictures within fonts are left out. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
patch -s -d "$OUT/src" -p1 <"$HERE/packages/freetype.patch"
cd "$OUT/src"
units="base/ftsystem base/ftinit base/ftdebug base/ftbase base/ftbbox base/ftbitmap base/ftglyph base/ftmm base/ftstroke
    base/ftsynth base/fttype1 base/ftwinfnt base/ftpfr base/ftcid base/ftgasp base/ftotval base/ftgxval base/ftfstype base/ftbdf
    base/ftpatent autofit/autofit truetype/truetype type1/type1 cff/cff cid/type1cid pfr/pfr type42/type42 winfonts/winfnt pcf/pcf
    bdf/bdf psaux/psaux psnames/psnames pshinter/pshinter sfnt/sfnt smooth/smooth raster/raster sdf/sdf svg/svg gzip/ftgzip lzw/ftlzw"
flags="$PACKAGE_CFLAGS -Iinclude -I$HERE/packages/include -DFT2_BUILD_LIBRARY -DFT_CONFIG_OPTION_SYSTEM_ZLIB -I$PYTHON/zlib"
echo "$units" | xargs -n 1 -P "$(nproc)" sh -c "$CC $flags -c src/\$1.c -o \$(basename \$1).o" --
$CC $PACKAGE_CFLAGS -I"$HERE/packages/include" -c "$HERE/packages/jump/jump.c" -o jump.o
$AR rcs "$OUT/libfreetype.a" ./*.o
cp -r include "$OUT/include"
: >"$OUT/modules"
cd "$OUT"
rm -r src
