# The table of Python minors that a guest can be built for: one function per row, named after the minor.
# A row says where the sources come from, what they must hash to, and what the build needs besides.
# Another Python is another row. All are built by the same compiler (toolchain.sh).

# usage: row MINOR      sets what the row says; false if there is none
row() {
    ROW=minor_$(echo "$1" | tr . _)
    command -v "$ROW" >/dev/null && "$ROW"
}

# All rows use one zlib. The tarball is the one of Debian's source package.
ZLIB_PACKAGE=zlib
ZLIB_TARBALL=zlib_1.2.13.dfsg.orig.tar.bz2
ZLIB_SHA256=71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
ZLIB_SOURCES="adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil"

minor_3_11() {
    VERSION=3.11.2
    # The suite of the distribution that has this source package; empty for the one of this machine.
    SOURCE_SUITE=
    SOURCE_PACKAGE=python3.11
    SOURCE_TARBALL=python3.11_3.11.2.orig.tar.gz
    SOURCE_SHA256=2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849
    # CPython builds the wasm one with a native one of the same minor: it also compiles the library.
    BUILD_PYTHON=/usr/bin/python3.11
    BUILD_PACKAGES="python3.11 python3.11-venv"
    # What configure cannot find out without running wasm, or finds out wrongly.
    CONFIGURE_CACHE="ac_cv_func_memfd_create=no ax_cv_c_float_words_bigendian=no"
    CONFIGURE_OPTIONS=
    EXTRA_LIBRARIES="Modules/_decimal/libmpdec/libmpdec.a Modules/expat/libexpat.a"
}

minor_3_13() {
    VERSION=3.13.5
    SOURCE_SUITE=trixie
    SOURCE_PACKAGE=python3.13
    SOURCE_TARBALL=python3.13_3.13.5.orig.tar.xz
    SOURCE_SHA256=93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640
    # Not every release of the distribution has it, so that it cannot be named as a package to install.
    BUILD_PYTHON=$("$HERE/../../scripts/find-python.sh" 3.13 'import ensurepip, venv')
    BUILD_PACKAGES=
    # CPython brings the type of threads that do not exist, but configure looks for the C library's.
    CONFIGURE_CACHE="ac_cv_func_memfd_create=no ax_cv_c_float_words_bigendian=no ac_cv_have_pthread_t=yes ac_cv_sizeof_pthread_t=4"
    # An allocator that only an interpreter without its lock would use.
    CONFIGURE_OPTIONS=--without-mimalloc
    EXTRA_LIBRARIES="Modules/_decimal/libmpdec/libmpdec.a Modules/expat/libexpat.a Modules/_hacl/libHacl_Hash_SHA2.a"
}
