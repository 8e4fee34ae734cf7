#!/bin/sh
# sqlite3: the library and CPython's module of it. See common.sh.
set -eu
. "$(dirname "$(realpath "$0")")/common.sh"
unpack "$OUT/src"
cd "$OUT/src"
# The one big file is made by this machine's compiler and tclsh.
quietly configure.log ./configure --disable-tcl --disable-readline
quietly make.log make sqlite3.c
# The C library has no locks on files and no owners of them: one process, one thread.
$CC $PACKAGE_CFLAGS $CPPFLAGS -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_TEMP_STORE=2 -DSQLITE_ENABLE_FTS5 \
    -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_ENABLE_RTREE -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_OMIT_WAL \
    -DSQLITE_OMIT_DEPRECATED -c sqlite3.c -o sqlite3.o
mkdir module
for source in "$PYTHON"/src/Modules/_sqlite/*.c; do
    $CC $PACKAGE_CFLAGS $CPPFLAGS $PYTHON_CFLAGS -DSQLITE_OMIT_LOAD_EXTENSION -I. \
        -c "$source" -o "module/$(basename "$source" .c).o"
done
$AR rcs "$OUT/libsqlite3.a" sqlite3.o module/*.o
echo "_sqlite3 libsqlite3.a" >"$OUT/modules"
cd "$OUT"
rm -r "$OUT/src"
