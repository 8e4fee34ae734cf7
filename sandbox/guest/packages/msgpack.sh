#!/bin/sh
# msgpack. Its source holds what Cython made of it. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source msgpack
extension msgpack._cmsgpack -D__LITTLE_ENDIAN__=1 -I. -Imsgpack -- msgpack/_cmsgpack.c
python_part msgpack
metadata msgpack
finished
