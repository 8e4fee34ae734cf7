#!/bin/sh
# numpy: its modules, its libraries, its Python part, its headers. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/meson.sh"
unpack "$OUT/src"
for patch in "$HERE"/packages/numpy*.patch; do
    patch -s -d "$OUT/src" -p1 <"$patch"
done
"$BUILD_PYTHON" "$HERE/packages/sigscan.py" "$OUT/src/numpy"
cross_file "$OUT/cross" -DNPY_NO_SIGNAL
cd "$OUT/src"
quietly "$OUT/setup.log" python vendored-meson/meson/meson.py setup "$OUT/build" --cross-file "$OUT/cross/cross" \
    -Dallow-noblas=true -Dblas=none -Dlapack=none -Ddisable-optimization=true -Ddisable-svml=true -Ddisable-highway=true \
    -Ddisable-intel-sort=true -Ddisable-threading=true -Dbuildtype=plain -Db_pie=false -Db_staticpic=true
quietly "$OUT/ninja.log" ninja -C "$OUT/build" -j "$(nproc)"
quietly "$OUT/install.log" python vendored-meson/meson/meson.py install -C "$OUT/build" --no-rebuild \
    --destdir "$OUT/installed" --tags runtime,python-runtime,devel
# _simd is for numpy's tests of SIMD, which is switched off.
collect "$OUT/build" '_tests\.|_simd\.'
cp -r "$OUT"/installed/usr/local/lib/python3*/*-packages/numpy/_core/include "$OUT/include"
cp numpy/__init__*.pxd "$OUT/include/"
python_part "$OUT/installed"
rm -rf "$OUT/site/numpy/f2py" "$OUT/site/numpy/distutils"
metadata numpy
cd "$OUT"
rm -rf src build cross installed
