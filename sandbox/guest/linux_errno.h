/* Included at the end of pyconfig.h, and so first in whatever includes Python.h: see errno.c. What
 * errno.def says follows below, made by python.sh. */
#ifndef BELLJAR_LINUX_ERRNO_H
#define BELLJAR_LINUX_ERRNO_H
#include <errno.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
int *linux_errno(void);
char *linux_strerror(int number);
#ifdef __cplusplus
}
#endif

#undef errno
#define errno (*linux_errno())
#define strerror(number) linux_strerror(number)
#undef ENOTCAPABLE
/* CPython would take EPIPE for it, which WASI says instead. */
#define ESHUTDOWN 108
#endif

