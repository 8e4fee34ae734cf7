# The table of Python minors that a guest can be built for: one function per row, named after the minor.
# A row says where the sources come from, what they must hash to, and what the build needs besides.
# Another Python is another row.

# All rows use one zlib. The tarball is the one of Debian's source package.
ZLIB_PACKAGE=zlib
ZLIB_TARBALL=zlib_1.2.13.dfsg.orig.tar.bz2
ZLIB_SHA256=71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
ZLIB_SOURCES="adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback inffast inflate inftrees trees uncompr zutil"

minor_3_11() {
    VERSION=3.11.2
    SOURCE_PACKAGE=python3.11
    SOURCE_TARBALL=python3.11_3.11.2.orig.tar.gz
    SOURCE_SHA256=2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849
    # CPython builds the wasm one with a native one of the same minor: it also compiles the library.
    BUILD_PYTHON=/usr/bin/python3.11
    BUILD_PACKAGES="python3.11 python3.11-venv"
    # What configure cannot find out without running wasm, or finds out wrongly.
    CONFIGURE_CACHE="ac_cv_func_memfd_create=no ax_cv_c_float_words_bigendian=no"
    EXTRA_LIBRARIES="Modules/_decimal/libmpdec/libmpdec.a Modules/expat/libexpat.a"
}
