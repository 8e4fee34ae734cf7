/* Bytes in files: opening, places, buffers, lengths, times. */
#include "guest.h"

static void opening(void) {
    const int flags[] = {0, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_APPEND, O_CREAT | O_TRUNC, O_EXCL, O_DIRECTORY, O_NONBLOCK};
    const int ways[] = {O_RDONLY, O_WRONLY, O_RDWR};
    const char *names[] = {"f", "d", "none", "none/", "f/", "d/", "none/x"};
    mkdir(W("d"), 0755);
    for (size_t name = 0; name < sizeof names / sizeof *names; name++) {
        for (int flag = 0; flag < 9; flag++) {
            for (int way = 0; way < 3; way++) {
                char what[64];
                write_file(W("f"), "0123456789");
                sprintf(what, "open %s flag %d way %d", names[name], flag, way);
                errno = 0;
                int fd = open(W(names[name]), flags[flag] | ways[way], 0644);
                saw(what, fd < 0 ? -1 : 0);
                if (fd >= 0 && names[name][0] != 'd') {
                    char byte;
                    SAW(read(fd, &byte, 1));
                    SAW(write(fd, "x", 1));
                    SAW(lseek(fd, 0, SEEK_CUR));
                    saw("its flags", fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK) ? 1 : 0);
                }
                close(fd);
                unlink(W("none"));
            }
        }
    }
    saw_text("after all", text_of(W("f")));
}

static void places(void) {
    char text[64] = "";
    write_file(W("f"), "0123456789");
    int fd = open(W("f"), O_RDWR);
    SAW(lseek(fd, 4, SEEK_SET));
    SAW(lseek(fd, -2, SEEK_CUR));
    SAW(lseek(fd, -3, SEEK_END));
    SAW(lseek(fd, -11, SEEK_END));
    SAW(lseek(fd, -1, SEEK_SET));
    SAW(lseek(fd, 0, SEEK_CUR));
    SAW(read(fd, text, 64));
    SAW(read(fd, text, 64));
    SAW(lseek(fd, 20, SEEK_SET));
    SAW(read(fd, text, 64));
    SAW(write(fd, "end", 3));
    SAW(lseek(fd, 0, SEEK_END));
    SAW(pread(fd, text, 3, 9));
    saw("a hole", text[0] == '9' && text[1] == 0 && text[2] == 0);
    SAW(pread(fd, text, 64, 100));
    SAW(pread(fd, text, 64, -1));
    SAW(pwrite(fd, "mid", 3, 5));
    SAW(pwrite(fd, "", 0, 500));
    SAW(lseek(fd, 0, SEEK_CUR));
    SAW(ftruncate(fd, 6));
    SAW(ftruncate(fd, -1));
    SAW(lseek(fd, 0, SEEK_END));
    SAW(ftruncate(fd, 12));
    SAW(pread(fd, text, 64, 0));
    SAW(memcmp(text, "01234m\0\0\0\0\0\0", 12));
    SAW(fsync(fd));
    SAW(fdatasync(fd));
    SAW(posix_fadvise(fd, 0, 10, POSIX_FADV_SEQUENTIAL));
    close(fd);
    const int closed[] = {fd, 1 << 20, -1};
    for (int i = 0; i < 3; i++) {
        SAW(read(closed[i], text, 1));
        SAW(write(closed[i], text, 1));
        SAW(lseek(closed[i], 0, SEEK_SET));
        SAW(fsync(closed[i]));
        SAW(ftruncate(closed[i], 0));
        SAW(fcntl(closed[i], F_GETFL));
        SAW(close(closed[i]));
        SAW(isatty(closed[i]) - 1);
    }
}

static void appending(void) {
    write_file(W("f"), "one");
    int fd = open(W("f"), O_RDWR | O_APPEND);
    SAW(write(fd, "two", 3));
    SAW(lseek(fd, 0, SEEK_SET));
    SAW(write(fd, "three", 5));
    SAW(pwrite(fd, "four", 4, 0));
    saw_text("appended", text_of(W("f")));
    SAW(fcntl(fd, F_SETFL, 0));
    SAW(pwrite(fd, "FIVE", 4, 0));
    SAW(fcntl(fd, F_SETFL, O_APPEND));
    SAW(write(fd, "six", 3));
    saw_text("not appended, and appended", text_of(W("f")));
    close(fd);
}

static void buffers(void) {
    static char large[1 << 20];
    static struct iovec many[1025];
    char one[3], two[5], three[1];
    int fd = open(W("large"), O_CREAT | O_RDWR | O_TRUNC, 0644);
    memset(large, 'l', sizeof large);
    SAW(write(fd, large, sizeof large));
    struct iovec some[] = {{"", 0}, {"abc", 3}, {"", 0}, {"defgh", 5}, {"i", 1}};
    SAW(pwritev(fd, some, 5, 0) >= 0);
    SAW(lseek(fd, 0, SEEK_SET));
    struct iovec into[] = {{one, 3}, {two, 0}, {two, 5}, {three, 1}};
    /* One call may read the first alone: all that is asked for is read in the end. */
    size_t got = 0;
    while (got < 3) got += readv(fd, into, 1);
    SAW(memcmp(one, large, 3) == 0 || memcmp(one, "abc", 3) == 0);
    SAW(lseek(fd, 0, SEEK_SET));
    SAW(readv(fd, into, 4) > 0);
    SAW(readv(fd, into, 0));
    SAW(writev(fd, some, 0));
    SAW(readv(fd, into, -1));
    for (int i = 0; i < 1025; i++) many[i] = (struct iovec){large + i, 1};
    SAW(writev(fd, many, 1024) > 0);
    SAW(writev(fd, many, 1025));
    SAW(readv(fd, many, 1025));
    SAW(read(fd, large, 0));
    SAW(ftruncate(fd, 0));
    SAW(read(fd, large, sizeof large));
    close(fd);
    char random[256] = {0};
    SAW(getentropy(random, 256));
    SAW(getentropy(large, 257));
    int zeros = 0;
    for (int i = 0; i < 256; i++) zeros += random[i] == 0;
    SAW(zeros < 20);
}

static void times(void) {
    struct stat seen;
    struct timespec given[] = {{1000000000, 5}, {1100000000, 7}};
    write_file(W("f"), "x");
    int fd = open(W("f"), O_RDWR);
    SAW(futimens(fd, given));
    SAW(fstat(fd, &seen));
    SAW(seen.st_atim.tv_sec);
    SAW(seen.st_mtim.tv_nsec);
    given[0].tv_nsec = UTIME_OMIT;
    given[1] = (struct timespec){1200000000, 0};
    SAW(utimensat(AT_FDCWD, W("f"), given, 0));
    SAW(stat(W("f"), &seen));
    SAW(seen.st_atim.tv_sec);
    SAW(seen.st_mtim.tv_sec);
    SAW(write(fd, "y", 1));
    SAW(stat(W("f"), &seen));
    SAW(seen.st_mtim.tv_sec > 1700000000);
    SAW(utimensat(AT_FDCWD, W("none"), given, 0));
    SAW(seen.st_size);
    SAW(S_ISREG(seen.st_mode));
    struct stat again;
    SAW(fstat(fd, &again));
    SAW(seen.st_ino == again.st_ino && seen.st_dev == again.st_dev);
    write_file(W("g"), "x");
    SAW(stat(W("g"), &again));
    SAW(seen.st_ino == again.st_ino);
    close(fd);
}

void checks(void) {
    opening();
    places();
    appending();
    buffers();
    times();
}
