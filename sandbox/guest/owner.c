/* Whose files are: WASI tells of no users, and its C library says 0, root. Here they are the sandbox's user's, as
 * `os.getuid` names it (site/belljar_posix.py): what compares both, such as `netrc`, finds its own files. The linker puts
 * these in front of the C library's. */
#include <sys/stat.h>

enum { USER = 1000 };

int __real_stat(const char *restrict path, struct stat *restrict found);
int __real_lstat(const char *restrict path, struct stat *restrict found);
int __real_fstat(int fd, struct stat *found);
int __real_fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags);

static int owned(int result, struct stat *found) {
    if (result == 0) found->st_uid = found->st_gid = USER;
    return result;
}

int __wrap_stat(const char *restrict path, struct stat *restrict found) {
    return owned(__real_stat(path, found), found);
}

int __wrap_lstat(const char *restrict path, struct stat *restrict found) {
    return owned(__real_lstat(path, found), found);
}

int __wrap_fstat(int fd, struct stat *found) {
    return owned(__real_fstat(fd, found), found);
}

int __wrap_fstatat(int folder, const char *restrict path, struct stat *restrict found, int flags) {
    return owned(__real_fstatat(folder, path, found, flags), found);
}
