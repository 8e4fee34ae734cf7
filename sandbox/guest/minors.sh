# What a guest is built from: what pythons.toml says of its Python, and the zlib of all guests.
# All are built by the same compiler (toolchain.sh).

# usage: row MINOR      sets what the table says; false if no guest can be built for it
row() {
    GUEST= SOURCE_SUITE= BUILD_PACKAGES= CONFIGURE_CACHE= CONFIGURE_OPTIONS= EXTRA_LIBRARIES=
    eval "$("$HERE/../../scripts/python-table.sh" show "$1")"
    VERSION=$GUEST
    [ -n "$VERSION" ]
}

# Sets BUILD_PYTHON: CPython builds the wasm one with a native one of the same minor, which also compiles
# the library. Empty if this machine has none.
find_build_python() {
    modules='import ensurepip, venv'
    # The distribution's first: its source package is what the guest is built from.
    if "/usr/bin/python$1" -c "$modules" 2>/dev/null; then
        BUILD_PYTHON=/usr/bin/python$1
    else
        BUILD_PYTHON=$("$HERE/../../scripts/find-python.sh" "$1" "$modules")
    fi
}

# The tarball is the one of Debian's source package.
ZLIB_PACKAGE=zlib
ZLIB_TARBALL=zlib_1.2.13.dfsg.orig.tar.bz2
ZLIB_SHA256=71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
ZLIB_SOURCES="adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil"
