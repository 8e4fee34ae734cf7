#!/bin/sh
# Checks that the plotting library of the dashboard is the file of its npm package, by the hashes below; `refresh` fetches
# it again, by the lock file's integrity hash. A build needs neither npm nor a network.
set -eu
cd "$(dirname "$0")/../gateway/assets"
LOCK=uplot
FILES="uPlot.iife.min.js:uplot.min.js uPlot.min.css:uplot.min.css LICENSE:uplot.LICENSE"

if [ "${1:-check}" = refresh ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cp $LOCK/package.json $LOCK/package-lock.json "$folder"
    # `ci` refuses a package whose hash is not that of the lock file, and runs nothing of it.
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --silent
    for pair in $FILES; do
        from=$folder/node_modules/uplot/dist/${pair%%:*}
        [ -e "$from" ] || from=$folder/node_modules/uplot/${pair%%:*}
        cp "$from" "pages/${pair#*:}"
    done
    (cd pages && sha256sum uplot.*) >$LOCK/SHA256SUMS
fi
cd pages && sha256sum --quiet --check ../$LOCK/SHA256SUMS
