#include "guest.h"
#include <stdarg.h>

enum { PATHS = 16, PATH_BYTES = 8192, TRANSCRIPT = 1 << 16 };

static char roots[2][512];
static char transcript[TRANSCRIPT];
static size_t used;

static const char *at(const char *root, const char *name) {
    static char paths[PATHS][PATH_BYTES];
    static unsigned next;
    char *path = paths[next++ % PATHS];
    snprintf(path, PATH_BYTES, "%s/%s", root, name);
    return path;
}

const char *W(const char *name) { return at(roots[0], name); }
const char *R(const char *name) { return at(roots[1], name); }

/* Numbers differ between the systems, names do not. */
static const char *name_of(int number) {
#define X(name) if (number == name) return #name;
    X(EACCES) X(EAGAIN) X(EBADF) X(EBUSY) X(EEXIST) X(EFAULT) X(EFBIG) X(EINVAL) X(EIO) X(EISDIR) X(ELOOP) X(EMFILE)
    X(ENAMETOOLONG) X(ENODEV) X(ENOENT) X(ENOMEM) X(ENOSPC) X(ENOSYS) X(ENOTDIR) X(ENOTEMPTY) X(ENOTSUP) X(ENOTTY)
    X(ENXIO) X(EOVERFLOW) X(EPERM) X(EROFS) X(ESPIPE) X(EXDEV) X(ENOTSOCK)
#ifdef ENOTCAPABLE
    X(ENOTCAPABLE)
#endif
#undef X
    return number == 0 ? "no error" : "another error";
}

static void add(const char *format, ...) {
    va_list more;
    va_start(more, format);
    used += vsnprintf(transcript + used, TRANSCRIPT - used, format, more);
    va_end(more);
    if (used >= TRANSCRIPT) abort();
}

void saw(const char *name, long long value) {
    int number = errno;
    if (value >= 0) add("%s: %lld\n", name, value);
    else add("%s: %lld %s\n", name, value, name_of(number));
}

void saw_path(const char *name, const char *path, long long value) {
    int number = errno;
    add("%.60s ", path);
    errno = number;
    saw(name, value);
}

void saw_text(const char *name, const char *text) { add("%s: `%s`\n", name, text); }

void write_file(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) add("%s cannot be written\n", path);
    close(fd);
}

const char *text_of(const char *path) {
    static char text[512];
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    return length < 0 ? "cannot be read" : text;
}

#ifdef __wasi__
extern void __wasm_call_ctors(void);
/* The host writes the two directories here, calls `run`, and reads. */
__attribute__((export_name("roots"))) int roots_at(void) { return (int)roots; }
__attribute__((export_name("run"))) int run(void) {
    __wasm_call_ctors();
    checks();
    return (int)transcript;
}
#else
int main(int count, char **arguments) {
    for (int root = 0; root < 2 && root + 1 < count; root++) strcpy(roots[root], arguments[root + 1]);
    checks();
    fputs(transcript, stdout);
    return 0;
}
#endif
