#!/bin/sh
# Writes requirements/*.txt anew: the newest versions that requirements/*.in allow, with the hash of every file of
# theirs. Look at the difference before it is committed.
set -eu
cd "$(dirname "$0")/../requirements"
uv() { ../.belljar/uv/bin/uv "$@"; }
[ -x ../.belljar/uv/bin/uv ] || {
    python3 -m venv ../.belljar/uv
    ../.belljar/uv/bin/pip --quiet --disable-pip-version-check install uv
}
for list in *.in; do
    # The interpreters of `make pythons` are of every minor.
    case $list in
        pythons.in) oldest=3.9 ;;
        *) oldest=$(../scripts/python-table.sh default) ;;
    esac
    uv pip compile --quiet --universal --python-version "$oldest" --generate-hashes --no-emit-index-url \
        --custom-compile-command scripts/lock-requirements.sh --output-file "${list%.in}.txt" "$list"
done
