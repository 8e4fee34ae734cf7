#!/bin/sh
# PyYAML, with the loader and dumper that libyaml does the work of. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source pyyaml
quietly cython.log cython -3 -I . yaml/_yaml.pyx -o _yaml.c
extension yaml._yaml "-I$5/include" -Iyaml -- _yaml.c
python_part lib/yaml
metadata PyYAML
finished
