# Packages that meson builds, numpy and those on top of it. Sourced after common.sh.

# No threads: thread-local variables are plain ones. SIMD is worth a factor of two in loops over arrays.
MESON_CFLAGS="$PACKAGE_CFLAGS -msimd128 $CPPFLAGS -fno-strict-aliasing -D_Thread_local="

# usage: cross_file DIR [C_ARGUMENT...]      writes DIR/cross, and what it names
cross_file() {
    dir=$1
    shift
    mkdir -p "$dir/include" "$dir/python"
    # One folder of headers: those of CPython and its configuration.
    cp -r "$PYTHON/src/Include/." "$dir/include/"
    cp "$PYTHON/build/pyconfig.h" "$PYTHON/build/linux_errno.h" "$dir/include/"
    # What meson asks the Python of the target is answered by this machine's, with other variables.
    cat >"$dir/python/_sysconfigdata_wasi.py" <<END
build_time_vars = {
    "INCLUDEPY": "$dir/include", "CONFINCLUDEPY": "$dir/include", "EXT_SUFFIX": ".wasm32-wasi.so", "SOABI": "wasm32-wasi",
    "LIBDIR": "/nowhere", "LIBPC": "/nowhere", "LDLIBRARY": "", "LIBRARY": "", "LIBPYTHON": "", "Py_GIL_DISABLED": 0,
    "Py_DEBUG": 0, "MULTIARCH": "", "SIZEOF_VOID_P": 4, "TZPATH": "",
}
END
    cat >"$dir/python/python" <<END
#!/bin/sh
_PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata_wasi PYTHONPATH=$dir/python exec "$(command -v python)" "\$@"
END
    chmod +x "$dir/python/python"
    cat >"$dir/cross" <<END
[binaries]
c = ['$HERE/packages/compiler', 'c']
cpp = ['$HERE/packages/compiler', 'cpp']
ar = '$AR'
ranlib = '$RANLIB'
strip = 'true'
python = '$dir/python/python'
cython = '$(command -v cython)'

[built-in options]
c_args = [$(list $MESON_CFLAGS "$@")]
cpp_args = [$(list $MESON_CFLAGS "$@" "-I$HERE/packages/include" -fexceptions -Drestrict=__restrict)]
c_link_args = [$(list $EMULATED)]
cpp_link_args = [$(list $EMULATED)]

[properties]
needs_exe_wrapper = true
skip_sanity_check = true
longdouble_format = 'IEEE_QUAD_LE'

[host_machine]
system = 'wasi'
cpu_family = 'wasm32'
cpu = 'wasm'
endian = 'little'
END
}

# The words as meson's list of texts.
list() {
    separator=
    for word in "$@"; do
        printf "%s'%s'" "$separator" "$word"
        separator=', '
    done
}

# usage: collect BUILD PATTERN      copies modules, whose paths below BUILD are their names, and libraries to $OUT
collect() {
    (cd "$1" && find . -name '*.wasm32-wasi.so' | sort) | grep -E -v "$2" | while read -r file; do
        name=$(echo "${file%.wasm32*}" | sed 's|^\./||' | tr / .)
        cp "$1/$file" "$OUT/$name.a"
        echo "$name $name.a"
    done >"$OUT/modules"
    # Those that meson would not install are lists of the paths of their objects.
    for library in $(find "$1" -name '*.a' | sort); do
        case $(head -c 7 "$library") in
            '!<thin>') (cd "$(dirname "$library")" && $AR qcs "$OUT/$(basename "$library")" $($AR t "$(basename "$library")")) ;;
            *) cp "$library" "$OUT/" ;;
        esac
    done
}

# usage: python_part DIR      moves the installed packages to $OUT/site, without what nobody imports
python_part() {
    mkdir -p "$OUT/site"
    cp -r "$1"/usr/local/lib/python3*/*-packages/. "$OUT/site/"
    find "$OUT/site" \( -name '*.so' -o -name '*.a' -o -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name __pycache__ \
        -o -name tests \) -prune -exec rm -rf {} +
}

# usage: metadata NAME      what `importlib.metadata` finds of an installed package
metadata() {
    version=$(basename "$TARBALL" .tar.gz)
    version=${version#"$1-"}
    mkdir -p "$OUT/site/$1-$version.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\n' "$1" "$version" >"$OUT/site/$1-$version.dist-info/METADATA"
}
