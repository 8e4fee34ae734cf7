#!/bin/sh
# Strips programs, and keeps the symbols of each beside it: PROGRAM.debug. gdb, perf and Rust's own backtraces find
# them there by themselves; they may be left out of an installation, and be copied to it later.
#
# usage: scripts/strip.sh DIR PROGRAM...
set -eu
cd "$1"
shift
for program; do
    # Already stripped: cargo links a program anew only after a change.
    readelf -SW "$program" | grep -q '\.gnu_debuglink' && continue
    objcopy --only-keep-debug "$program" "$program.debug"
    # Never written over: a service may be running it.
    objcopy --strip-all --add-gnu-debuglink="$program.debug" "$program" ".$program"
    mv ".$program" "$program"
done
