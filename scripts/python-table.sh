#!/bin/sh
# Reads pythons.toml, or the file $TABLE of the same form, for other scripts.
#
# usage: scripts/python-table.sh default       the default minor
#        scripts/python-table.sh list KEY      the minors whose table has KEY, one a line
#        scripts/python-table.sh show MINOR    its keys as assignments for `eval`, such as GUEST='3.11.2'
set -eu
table=${TABLE:-$(dirname "$(realpath "$0")")/../pythons.toml}
awk -v command="$1" -v wanted="${2:-}" '
    /^\["/ { split($0, parts, "\""); minor = parts[2]; next }
    /^[a-z]/ {
        key = $1
        value = $0
        sub(/^[^=]*= */, "", value)
        gsub(/"/, "", value)
        if (command == "default" && minor == "" && key == "default") print value
        if (command == "list" && minor != "" && key == wanted) print minor
        if (command == "show" && minor == wanted) printf "%s=\047%s\047\n", toupper(key), value
    }
' "$table"
