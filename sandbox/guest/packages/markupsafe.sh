#!/bin/sh
# markupsafe, which templates escape with. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source markupsafe
extension markupsafe._speedups -- src/markupsafe/_speedups.c
python_part src/markupsafe
metadata MarkupSafe
finished
