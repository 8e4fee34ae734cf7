/* Renaming and removing, over what is there and while it is open. */
#include "guest.h"

static void fresh(void) {
    mkdir(W("d"), 0755);
    mkdir(W("e"), 0755);
    mkdir(W("full"), 0755);
    write_file(W("full/x"), "in full");
    write_file(W("f"), "of f");
    write_file(W("g"), "of g");
}

static void all(void) {
    const char *names[] = {"f", "g", "d", "e", "full", "none", "f/", "d/", "full/", "full/x", "full/y", "d/sub", "d/.", "none/x", "."};
    enum { NAMES = sizeof names / sizeof *names };
    for (int from = 0; from < NAMES; from++) {
        for (int to = 0; to < NAMES; to++) {
            char what[64];
            fresh();
            sprintf(what, "rename %s %s", names[from], names[to]);
            saw(what, (errno = 0, rename(W(names[from]), W(names[to]))));
            sprintf(what, "then f %s", text_of(W("f")));
            saw_text(what, text_of(W("g")));
            const char *rest[] = {"full/x", "full/y", "full/f", "full/g", "d/sub/x", "d/sub", "d/x", "e/x", "none/x", "none", "f", "g", "f/x", "g/x"};
            for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) { unlink(W(rest[i])); rmdir(W(rest[i])); }
            const char *dirs[] = {"full", "d/sub", "d", "e", "none", "f", "g"};
            for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) rmdir(W(dirs[i]));
        }
    }
}

static void while_open(void) {
    char text[16] = "";
    fresh();
    int f = open(W("f"), O_RDWR), g = open(W("g"), O_RDWR);
    SAW(rename(W("f"), W("g")));
    SAW(pread(f, text, 4, 0));
    saw_text("the one that was renamed", text);
    SAW(pread(g, text, 4, 0));
    saw_text("the one that is gone", text);
    SAW(pwrite(g, "still", 5, 0));
    SAW(unlink(W("g")));
    SAW(pread(f, text, 4, 0));
    SAW(pwrite(f, "more", 4, 4));
    struct stat seen;
    SAW(fstat(f, &seen));
    saw("bytes of what has no name", seen.st_size);
    saw("links of what has no name", seen.st_nlink);
    SAW(ftruncate(f, 2));
    SAW(open(W("g"), O_RDONLY));
    write_file(W("g"), "another");
    SAW(pread(f, text, 4, 0));
    SAW(close(f));
    SAW(close(g));
    saw_text("the new one", text_of(W("g")));
    SAW(unlink(W("d")));
    SAW(unlink(W("g/")));
    SAW(rmdir(W("full")));
    SAW(unlink(W("none")));
    SAW(remove(W("d")));
    SAW(remove(W("g")));
}

void checks(void) {
    all();
    while_open();
}
