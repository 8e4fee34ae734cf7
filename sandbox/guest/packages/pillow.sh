#!/bin/sh
# Pillow, with zlib, libjpeg and FreeType: no WebP, AVIF, JPEG 2000, compressed TIFF, colour profiles, Raqm. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source pillow
units=$("$BUILD_PYTHON" -c '
import ast
for line in ast.parse(open("setup.py").read()).body:
    if isinstance(line, ast.Assign) and line.targets[0].id in ("_IMAGING", "_LIB_IMAGING"):
        folder = "src/libImaging/" if line.targets[0].id == "_LIB_IMAGING" else "src/"
        print(*(f"{folder}{unit}.c" for unit in ast.literal_eval(line.value)), sep="\n")
')
flags="$EXTENSION_CFLAGS -I$5/include -I$6/include -I$HERE/packages/include -I$PYTHON/zlib -DHAVE_LIBJPEG -DHAVE_LIBZ"
flags="$flags -DPILLOW_VERSION=\\\"$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/PIL/_version.py)\\\""
# Pixels are worked on four at a time.
echo "$units src/libImaging/Mode.c src/_imaging.c src/_imagingft.c src/_imagingmath.c src/_imagingmorph.c" |
    xargs -n 1 -P "$(nproc)" sh -c "$CC $flags -msimd128 -c \$1 -o \$(basename \$1 .c).o" --
for name in _imagingft _imagingmath _imagingmorph; do
    $AR rcs "$OUT/PIL.$name.a" "$name.o"
    rm "$name.o"
    echo "PIL.$name PIL.$name.a" >>"$OUT/modules"
done
$AR rcs "$OUT/PIL._imaging.a" ./*.o
echo "PIL._imaging PIL._imaging.a" >>"$OUT/modules"
python_part src/PIL
metadata pillow
finished
