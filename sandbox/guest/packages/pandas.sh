#!/bin/sh
# pandas: its modules, its libraries, its Python part. Compiled against numpy's headers. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/meson.sh"
unpack "$OUT/src"
patch -s -d "$OUT/src" -p1 <"$HERE/packages/pandas.patch"
"$BUILD_PYTHON" "$HERE/packages/sigscan.py" "$OUT/src/pandas"
cross_file "$OUT/cross"
# All that the build asks of numpy is where its headers are, and Cython's own.
mkdir "$OUT/cross/python/numpy"
echo "def get_include(): return '$5/include'" >"$OUT/cross/python/numpy/__init__.py"
cp "$5"/include/*.pxd "$OUT/cross/python/numpy/"
export PYTHONPATH="$OUT/cross/python"
cd "$OUT/src"
quietly "$OUT/setup.log" meson setup "$OUT/build" --cross-file "$OUT/cross/cross" \
    -Dbuildtype=plain -Db_pie=false -Db_staticpic=true -Dwarning_level=0
quietly "$OUT/ninja.log" ninja -C "$OUT/build" -j "$(nproc)"
quietly "$OUT/install.log" meson install -C "$OUT/build" --no-rebuild --destdir "$OUT/installed"
collect "$OUT/build" '^$'
# meson builds it elsewhere than it installs it.
sed -i 's/^_cyutility /pandas._libs._cyutility /' "$OUT/modules"
python_part "$OUT/installed"
rm "$OUT/site/pandas/conftest.py" "$OUT/site/pandas/pyproject.toml"
metadata pandas
cd "$OUT"
rm -rf src build cross installed
