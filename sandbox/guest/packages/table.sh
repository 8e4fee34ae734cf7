#!/bin/sh
# Writes the table of the extension modules that are linked into the guest: table.sh NAME... >TABLE.c
echo '#include <Python.h>'
for name in "$@"; do echo "PyMODINIT_FUNC PyInit_${name##*.}(void);"; done
echo 'struct _inittab belljar_extensions[] = {'
for name in "$@"; do echo "    {\"$name\", PyInit_${name##*.}},"; done
echo '    {NULL, NULL}};'
