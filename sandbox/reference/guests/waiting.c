/* Waiting, clocks, and the numbers of descriptors. */
#include "guest.h"
#include <sched.h>
#include <sys/select.h>
#ifdef __wasi__
#include <wasi/libc.h>
#endif

static void polling(void) {
    int file = open(W("f"), O_CREAT | O_RDWR, 0644);
    struct pollfd ready[] = {{file, POLLIN, 0}, {file, POLLOUT, 0}};
    SAW(poll(&ready[0], 1, 1000));
    SAW(poll(&ready[1], 1, 1000));
    saw("to read", ready[0].revents & POLLIN ? 1 : 0);
    saw("to write", ready[1].revents & POLLOUT ? 1 : 0);
    struct pollfd out = {1, POLLOUT, 0};
    SAW(poll(&out, 1, 1000));
    saw("standard output can be written", out.revents & POLLOUT ? 1 : 0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(file, &set);
    struct timeval patience = {1, 0};
    SAW(select(file + 1, &set, NULL, NULL, &patience));
    close(file);
    struct pollfd bad = {file, POLLIN, 0};
    SAW(poll(&bad, 1, 10));
    saw("what is not open", bad.revents & POLLNVAL ? 1 : 0);
    FD_ZERO(&set);
    FD_SET(file, &set);
    SAW(select(file + 1, &set, NULL, NULL, &patience));
}

static void clocks(void) {
    struct timespec before, after, resolution;
    SAW(clock_getres(CLOCK_MONOTONIC, &resolution));
    SAW(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
    SAW(clock_getres(CLOCK_REALTIME, &resolution));
    SAW(clock_gettime(CLOCK_REALTIME, &before));
    SAW(before.tv_sec > 1700000000);
    SAW(clock_gettime(CLOCK_MONOTONIC, &before));
    int back = 0;
    for (int i = 0; i < 1000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &after);
        back += after.tv_sec < before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec < before.tv_nsec);
        before = after;
    }
    saw("went back", back);
    struct timespec pause = {0, 20000000};
    SAW(nanosleep(&pause, NULL));
    clock_gettime(CLOCK_MONOTONIC, &after);
    double slept = (after.tv_sec - before.tv_sec) + (after.tv_nsec - before.tv_nsec) / 1e9;
    SAW(slept >= 0.02 && slept < 5);
    pause.tv_nsec = 2000000000;
    SAW(nanosleep(&pause, NULL));
    SAW(sched_yield());
}

/* `dup2` and `close` in one. */
static int renumber(int from, int to) {
#ifdef __wasi__
    return __wasilibc_fd_renumber(from, to);
#else
    /* Where `to` is not open WASI refuses, as both implementations must. */
    if (fcntl(to, F_GETFD) < 0 || dup2(from, to) < 0) return -1;
    return from == to ? 0 : close(from);
#endif
}

static void numbers(void) {
    char text[8] = "";
    write_file(W("one"), "one");
    write_file(W("two"), "two");
    int one = open(W("one"), O_RDONLY), two = open(W("two"), O_RDONLY);
    SAW(two > one);
    SAW(renumber(one, two));
    SAW(read(two, text, 3));
    saw_text("it is the other now", text);
    SAW(read(one, text, 3));
    SAW(renumber(one, two));
    int closed = open(W("two"), O_RDONLY);
    close(closed);
    SAW(renumber(closed, two));
    SAW(renumber(two, two));
    SAW(lseek(two, 0, SEEK_CUR));
    int three = open(W("two"), O_RDONLY);
    SAW(three == one);
    SAW(close(two));
    SAW(close(two));
    SAW(close(three));
}

void checks(void) {
    polling();
    clocks();
    numbers();
}
