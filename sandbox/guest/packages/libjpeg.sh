#!/bin/sh
# libjpeg-turbo, for Pillow, without its assembler code. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
# What cmake would find out.
cat >jconfig.h <<END
#define JPEG_LIB_VERSION 62
#define LIBJPEG_TURBO_VERSION 2.1.5
#define LIBJPEG_TURBO_VERSION_NUMBER 2001005
#define C_ARITH_CODING_SUPPORTED 1
#define D_ARITH_CODING_SUPPORTED 1
#define MEM_SRCDST_SUPPORTED 1
#define BITS_IN_JSAMPLE 8
END
cat >jconfigint.h <<END
#define BUILD "belljar"
#define INLINE inline __attribute__((always_inline))
#define THREAD_LOCAL
#define PACKAGE_NAME "libjpeg-turbo"
#define VERSION "2.1.5"
#define SIZEOF_SIZE_T 4
#define HAVE_BUILTIN_CTZL
#define FALLTHROUGH __attribute__((fallthrough));
END
sed "s/@COPYRIGHT_YEAR@/1991-2023/" jversion.h.in >jversion.h
units="jcapimin jcapistd jccoefct jccolor jcdctmgr jchuff jcicc jcinit jcmainct jcmarker jcmaster jcomapi jcparam jcphuff
    jcprepct jcsample jctrans jdapimin jdapistd jdatadst jdatasrc jdcoefct jdcolor jddctmgr jdhuff jdicc jdinput jdmainct jdmarker
    jdmaster jdmerge jdphuff jdpostct jdsample jdtrans jerror jfdctflt jfdctfst jfdctint jidctflt jidctfst jidctint jidctred
    jquant1 jquant2 jutils jmemmgr jmemnobs jaricom jcarith jdarith jsimd_none"
echo "$units" | xargs -n 1 -P "$(nproc)" sh -c "$CC $PACKAGE_CFLAGS -msimd128 -DNO_GETENV -DNO_PUTENV -include errno.h -c \$1.c -o \$1.o" --
$AR rcs "$OUT/libjpeg.a" ./*.o
mkdir "$OUT/include"
cp jpeglib.h jconfig.h jmorecfg.h jerror.h "$OUT/include/"
: >"$OUT/modules"
cd "$OUT"
rm -r src
