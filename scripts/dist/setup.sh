#!/bin/sh
# Installs what `make dist-test` needs on Debian 12 and is not there yet.
set -eu
need=
for program in debootstrap buildah; do
    command -v $program >/dev/null 2>&1 || need="$need $program"
done
[ -z "$need" ] || {
    echo "dist: installing$need"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $need >/dev/null
}
