/* What Python sees as `errno`: Linux's numbers. The C library is compiled with WASI's, so each is translated
 * when CPython looks (linux_errno.h, which every source of CPython and of its extensions includes). */
#include <errno.h>
#include <string.h>
#include <wasi/api.h>

#define X(name, number) [__WASI_ERRNO_##name] = number,
static const unsigned char numbers[] = {
#include "errno.def"
    /* What Linux has no word for: a path that leads out. */
    [__WASI_ERRNO_NOTCAPABLE] = 1,
};

/* The library never sets its `errno` to 0: what is there came after what was taken before. */
int *linux_errno(void) {
    static int seen;
    if (errno != 0) {
        seen = (unsigned)errno < sizeof numbers ? numbers[errno] : errno;
        errno = 0;
    }
    return &seen;
}

char *linux_strerror(int number) {
    for (unsigned wasi = 0; wasi < sizeof numbers; wasi++) {
        if (numbers[wasi] == number) return strerror(wasi);
    }
    return strerror(-1);
}
