#!/bin/sh
# lxml, by the C code that its source distribution has. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source lxml
# What Cython writes, and lxml's macros where there are no threads.
quiet="-Wno-incompatible-pointer-types-discards-qualifiers -Wno-dangling-else"
for module in etree objectify _elementpath builder sax html/diff html/_difflib; do
    extension "lxml.$(echo $module | tr / .)" $quiet -DWITHOUT_THREADING -DCYTHON_CLINE_IN_TRACEBACK=0 -Isrc -Isrc/lxml/includes "-I$5/include" "-I$6/include" "-I$PYTHON/zlib" \
        -- "src/lxml/$module.c"
    rm -f "src/lxml/$module.py"
done
python_part src/lxml
find "$OUT/site" -name '*.pxi' -delete
metadata lxml
finished
