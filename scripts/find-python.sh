#!/bin/sh
# Finds a Python of one minor, in PATH or of pyenv, for which a piece of code ends well. Prints its path, or nothing.
#
# usage: scripts/find-python.sh X.Y CODE
for python in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    # What pyenv puts in PATH may stand for a version that is not chosen.
    if [ -x "$python" ] && "$python" -c "$2" "$1" 2>/dev/null; then
        echo "$python"
        exit
    fi
done
