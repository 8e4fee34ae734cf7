/* Where paths lead, and where they do not. */
#include "guest.h"

static void interesting(void) {
    mkdir(W("dir"), 0755);
    mkdir(W("dir/nested"), 0755);
    write_file(W("dir/nested/file"), "here");
    const char *names[] = {
        "dir/nested/file", "dir/.//nested/../nested/../nested///./file", "dir/nested/file/", "dir/nested/file/.",
        "dir/nested/file/..", "dir/nested/", "dir/nested/.", "./dir/./nested", "dir//nested", "dir/nested/../..",
        "dir/none/../nested/file", "dir/nested/file/../file", "", ".", "//dir", "dir/nested/none", "none/file",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat seen;
        SAW_PATH(stat(W(names[i]), &seen), names[i]);
        SAW_PATH(access(W(names[i]), F_OK), names[i]);
        int fd = open(W(names[i]), O_RDONLY);
        saw_path("open", names[i], fd < 0 ? -1 : 0);
        close(fd);
    }
}

static void lengths(void) {
    static char name[6000];
    const int lengths[] = {254, 255, 256, 300};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memset(name, 'n', lengths[i]);
        name[lengths[i]] = 0;
        int fd = open(W(name), O_CREAT | O_WRONLY, 0644);
        saw("a name of that length", fd < 0 ? -1 : lengths[i]);
        close(fd);
        unlink(W(name));
    }
    for (int i = 0; i < 5000; i += 2) memcpy(name + i, "./", 2);
    name[5000] = 0;
    SAW(open(W(name), O_RDONLY));
}

static void links(void) {
    const char *names[] = {"link", "dirlink", "sub/up", "dangling", "loop", "f", "sub", "none", "dirlink/g", "loop/x", "dangling/x"};
    char target[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat seen;
        SAW_PATH(stat(R(names[i]), &seen), names[i]);
        SAW_PATH(lstat(R(names[i]), &seen), names[i]);
        ssize_t length = readlink(R(names[i]), target, sizeof target);
        saw_path("readlink", names[i], length);
        SAW_PATH(readlink(R(names[i]), target, 2), names[i]);
        const int flags[] = {O_RDONLY, O_RDONLY | O_NOFOLLOW, O_RDONLY | O_DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW};
        for (int how = 0; how < 4; how++) {
            int fd = open(R(names[i]), flags[how]);
            saw_path("open in four ways", names[i], fd < 0 ? -1 : how);
            close(fd);
        }
    }
    saw_text("through a link", text_of(R("dirlink/g")));
}

#ifdef __wasi__
/* On Linux these lead somewhere; from a guest they must not. */
static void ways_out(void) {
    const char *names[] = {
        "../secret", "sub/../../secret", "dirlink/../../secret", "escape", "absolute", "./../given/../secret", "..",
        "sub/../..", "../../../../../../etc/passwd", "absolute/", "escape/.",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char what[80];
        struct stat seen;
        sprintf(what, "out: stat %s", names[i]);
        saw(what, (errno = 0, stat(R(names[i]), &seen)));
        sprintf(what, "out: open %s", names[i]);
        saw(what, (errno = 0, open(R(names[i]), O_RDONLY)));
        sprintf(what, "out: open to write %s", names[i]);
        saw(what, (errno = 0, open(R(names[i]), O_WRONLY | O_CREAT, 0644)));
    }
    int fd = open(R("sub"), O_RDONLY | O_DIRECTORY);
    saw("out: openat ../../secret", (errno = 0, openat(fd, "../../secret", O_RDONLY)));
    saw("out: openat /etc/passwd", (errno = 0, openat(fd, "/etc/passwd", O_RDONLY)));
    saw("out: open /etc/passwd", (errno = 0, open("/etc/passwd", O_RDONLY)));
    saw("out: mkdir ../x", (errno = 0, mkdir(R("../x"), 0755)));
    saw("out: rename ../secret", (errno = 0, rename(R("../secret"), W("secret"))));
    saw("out: unlink ../secret", (errno = 0, unlink(R("../secret"))));
    saw("out: rmdir ..", (errno = 0, rmdir(R("sub/.."))));
    close(fd);
}

/* Nor can what is only to be read be changed. */
static void read_only(void) {
    saw("out: write", (errno = 0, open(R("f"), O_WRONLY)));
    saw("out: truncate", (errno = 0, open(R("f"), O_RDONLY | O_TRUNC)));
    saw("out: create", (errno = 0, open(R("new"), O_CREAT | O_RDWR, 0644)));
    saw("out: mkdir", (errno = 0, mkdir(R("new"), 0755)));
    saw("out: unlink", (errno = 0, unlink(R("f"))));
    saw("out: rmdir", (errno = 0, rmdir(R("sub/deep"))));
    saw("out: rename", (errno = 0, rename(R("f"), R("g"))));
    saw("out: rename away", (errno = 0, rename(R("f"), W("g"))));
    saw("out: symlink", (errno = 0, symlink("f", R("new"))));
    saw("out: link", (errno = 0, link(R("f"), R("new"))));
    saw("out: times", (errno = 0, utimensat(AT_FDCWD, R("f"), NULL, 0)));
    int fd = open(R("f"), O_RDONLY);
    saw("out: write what is open", (errno = 0, write(fd, "x", 1)));
    saw("out: truncate what is open", (errno = 0, ftruncate(fd, 0)));
    saw("out: times of what is open", (errno = 0, futimens(fd, NULL)));
    close(fd);
}
#endif

void checks(void) {
    interesting();
    lengths();
    links();
#ifdef __wasi__
    ways_out();
    read_only();
#endif
}
