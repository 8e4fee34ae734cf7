/* What the programs here share. Each is compiled for WASI, to run on both implementations, and for this machine: what
 * it sees of files is written down line by line, and the three must see the same. */
#ifndef GUEST_H
#define GUEST_H
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Defined by each program. */
void checks(void);

/* The path of `name` in the directory that can be written, and in the one that can only be read. */
const char *W(const char *name);
const char *R(const char *name);

/* Writes down what a call returned; the name of `errno` where that is negative. What begins with `out:` must be refused:
 * it would lead out of what was granted. */
void saw(const char *name, long long value);
void saw_text(const char *name, const char *text);

/* A new file with this text; and the text of a file. */
void write_file(const char *path, const char *text);
const char *text_of(const char *path);

#define SAW(call) saw(#call, (errno = 0, (long long)(call)))
#define SAW_PATH(call, path) saw_path(#call, path, (errno = 0, (long long)(call)))
void saw_path(const char *name, const char *path, long long value);
#endif
