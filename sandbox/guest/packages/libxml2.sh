#!/bin/sh
# libxml2, for libxslt and lxml, with encodings by Python's codecs: no network, threads, LZMA or modules. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
# What configure would find out.
off="TRIO THREADS THREAD_ALLOC FTP HTTP LEGACY DOCB ICU ISO8859X MEM_DEBUG RUN_DEBUG MODULES LZMA"
substitute='s/@VERSION@/2.9.14/; s/@LIBXML_VERSION_NUMBER@/20914/; s/@LIBXML_VERSION_EXTRA@//; s/@MODULE_EXTENSION@//'
for feature in $off; do substitute="$substitute; s/@WITH_$feature@/0/"; done
sed "$substitute; s/@WITH_[A-Z0-9]*@/1/" include/libxml/xmlversion.h.in >include/libxml/xmlversion.h
# What is called `-` is no standard input or output: WASI cannot open these twice.
printf '#define %s\n' ICONV_CONST 'dup(file) (-1)' 'malloc belljar_xml_malloc' 'realloc belljar_xml_realloc' >config.h
for has in CTYPE_H DIRENT_H ERRNO_H FCNTL_H FLOAT_H GETTIMEOFDAY INTTYPES_H ISASCII LIMITS_H LOCALTIME MATH_H RAND RAND_R SNPRINTF SRAND STAT \
    STDARG_H STDINT_H STDLIB_H STRFTIME STRING_H STRINGS_H SYS_STAT_H SYS_TIME_H SYS_TYPES_H TIME TIME_H UNISTD_H VA_COPY VSNPRINTF ZLIB_H; do
    echo "#define HAVE_$has 1" >>config.h
done
cp "$HERE/packages/libxml2/iconv.h" include/
units="SAX SAX2 HTMLparser HTMLtree buf c14n catalog chvalid debugXML dict encoding entities error globals hash list parser parserInternals pattern
    relaxng schematron threads tree uri valid xinclude xlink xmlIO xmlmemory xmlreader xmlregexp xmlsave xmlschemas xmlschemastypes xmlstring
    xmlunicode xmlwriter xpath xpointer"
# WebAssembly minds what a function is called as through a pointer.
echo "$units" | xargs -n 1 -P "$(nproc)" sh -c "$CC $PACKAGE_CFLAGS $CPPFLAGS -I. -Iinclude -I$PYTHON/zlib -Werror=cast-function-type \
    -c \$1.c -o \$1.o" --
for unit in iconv memory; do
    $CC $PACKAGE_CFLAGS $CPPFLAGS -Wall -Werror -I"$PYTHON/src/Include" -I"$PYTHON/build" -c "$HERE/packages/libxml2/$unit.c" -o "$unit.o"
done
$AR rcs "$OUT/libxml2.a" ./*.o
cp -r include "$OUT/include"
: >"$OUT/modules"
cd "$OUT"
rm -r src
