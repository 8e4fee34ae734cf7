#!/bin/sh
# regex: regular expressions with more than those of `re`, and a time limit. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
. "$HERE/packages/extension.sh"
patched_source regex
extension regex._regex -- src/_regex.c src/_regex_unicode.c
python_part regex
metadata regex
finished
