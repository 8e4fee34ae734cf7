#!/bin/sh
# Links CPython, zlib, the packages and the shim to one module, and optimises it as a whole.
#
# usage: link.sh MINOR LIBRARIES OUTPUT [PACKAGE...]
#   LIBRARIES  as python.sh leaves them
#   PACKAGE    a folder as a package's script leaves it (packages/common.sh)
set -eu
MINOR=$1 LIBRARIES=$(realpath "$2") OUTPUT=$(realpath -m "$3")
shift 3
HERE=$(dirname "$(realpath "$0")")
. "$HERE/minors.sh"
. "$HERE/toolchain.sh"
row "$MINOR"
find_build_python "$MINOR"

modules= archives=
for package in "$@"; do
    modules="$modules $(cut -d ' ' -f 1 "$package/modules" | tr '\n' ' ')"
    archives="$archives $(find "$(realpath "$package")" -maxdepth 1 -name '*.a' | sort | tr '\n' ' ')"
done
NM=llvm-nm-14 AR=$AR "$BUILD_PYTHON" "$HERE/packages/duplicates.py" $archives "$LIBRARIES/build/libpython$MINOR.a"
"$HERE/packages/table.sh" $modules >"$OUTPUT.c"

cd "$LIBRARIES/build"
# Compiled and linked in two steps: told to optimise, the linking compiler would run `wasm-opt` by itself,
# and without the features that this module needs.
$CC $CFLAGS $CPPFLAGS -I"$LIBRARIES/src/Include" -I"$LIBRARIES/build" -c "$HERE/shim.c" -o "$OUTPUT.shim.o"
$CC $CFLAGS $CPPFLAGS -I"$LIBRARIES/src/Include" -I"$LIBRARIES/build" -c "$OUTPUT.c" -o "$OUTPUT.table.o"
for unit in cxx_runtime float_status; do
    $CC ${CFLAGS% -flto} -c "$HERE/packages/$unit.c" -o "$OUTPUT.$unit.o"
done
wrapped=
for name in get_floatstatus_barrier clear_floatstatus_barrier set_floatstatus_divbyzero set_floatstatus_overflow \
    set_floatstatus_underflow set_floatstatus_invalid; do
    wrapped="$wrapped -Wl,--wrap=npy_$name"
done
for name in stat lstat fstat fstatat; do
    wrapped="$wrapped -Wl,--wrap=$name"
done
for unit in errno owner; do
    $CC $CFLAGS -c "$HERE/$unit.c" -o "$OUTPUT.$unit.o"
done
# The stack lies below all data, so that an overflow leaves the memory instead of overwriting the heap.
$CC -flto -mexec-model=reactor "$OUTPUT.shim.o" "$OUTPUT.table.o" "$OUTPUT.cxx_runtime.o" "$OUTPUT.float_status.o" "$OUTPUT.errno.o" "$OUTPUT.owner.o" $wrapped $archives \
    "libpython$MINOR.a" $EXTRA_LIBRARIES "$LIBRARIES/zlib/libz.a" $EMULATED -lm \
    -lc++ -lc++abi -lc-printscan-long-double \
    -Wl,-z,stack-size=8388608 -Wl,--stack-first -Wl,--initial-memory=41943040 \
    -Wl,--export=__stack_pointer -Wl,--lto-O3 -Wl,--strip-all -o "$OUTPUT.raw"
wasm-opt -O3 --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int \
    --enable-mutable-globals --enable-simd --strip-debug "$OUTPUT.raw" -o "$OUTPUT"
rm "$OUTPUT.raw" "$OUTPUT.c" "$OUTPUT".*.o
