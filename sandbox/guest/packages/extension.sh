# Packages of one extension module and a Python part. Sourced after common.sh.

# No threads: thread-local variables are plain ones.
EXTENSION_CFLAGS="$PACKAGE_CFLAGS $CPPFLAGS -I$PYTHON/src/Include -I$PYTHON/build -fno-strict-aliasing -D_Thread_local="

# usage: extension NAME ARGUMENT... -- SOURCE...      compiles the module NAME into an archive of its own
extension() {
    name=$1 arguments= objects=
    shift
    while [ "$1" != -- ]; do
        arguments="$arguments $1"
        shift
    done
    shift
    for source in "$@"; do
        object=$OUT/$(basename "$source" .c).o
        $CC $EXTENSION_CFLAGS $arguments -c "$source" -o "$object"
        objects="$objects $object"
    done
    $AR rcs "$OUT/$name.a" $objects
    rm $objects
    echo "$name $name.a" >>"$OUT/modules"
}

# usage: python_part FOLDER      puts the package in FOLDER into $OUT/site, without what nobody imports
python_part() {
    mkdir -p "$OUT/site"
    cp -r "$1" "$OUT/site/"
    find "$OUT/site" \( -name '*.c' -o -name '*.h' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name __pycache__ -o -name tests \) \
        -prune -exec rm -rf {} +
}

# usage: metadata NAME      what `importlib.metadata` finds of the package
metadata() {
    version=$(basename "$TARBALL" .tar.gz)
    version=${version#*-}
    mkdir -p "$OUT/site/$1-$version.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\n' "$1" "$version" >"$OUT/site/$1-$version.dist-info/METADATA"
}

# The source, patched, without what CPython would call with other parameters than it takes.
patched_source() {
    unpack "$OUT/src"
    patch=$HERE/packages/$1.patch
    [ ! -e "$patch" ] || patch -s -d "$OUT/src" -p1 <"$patch"
    "$BUILD_PYTHON" "$HERE/packages/sigscan.py" "$OUT/src"
    cd "$OUT/src"
}

# What only the compilation needed.
finished() {
    cd "$OUT"
    rm -r src
}
