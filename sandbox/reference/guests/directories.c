/* Directories: making, listing, removing. */
#include "guest.h"

static int compare(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }

/* Writes down the names in a directory, sorted: the order is nobody's business. */
static void list(const char *what, DIR *dir) {
    char *names[64], text[1024] = "";
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) && count < 64;) {
        int is_dot = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
        const char *kind = entry->d_type == DT_DIR ? "/" : entry->d_type == DT_LNK ? "@" : "";
        names[count] = malloc(strlen(entry->d_name) + 3);
        sprintf(names[count++], "%s%s ", entry->d_name, is_dot ? "" : kind);
    }
    qsort(names, count, sizeof *names, compare);
    for (int i = 0; i < count; i++) { strcat(text, names[i]); free(names[i]); }
    saw_text(what, text);
}

static void list_path(const char *what, const char *path) {
    errno = 0;
    DIR *dir = opendir(path);
    if (!dir) { saw(what, -1); return; }
    list(what, dir);
    closedir(dir);
}

static void making(void) {
    const char *names[] = {"d", "d", "d/", "new/", "d/e", "none/e", "f", "f/", "f/d", ".", "d/.", "d/..", ""};
    write_file(W("f"), "x");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) SAW_PATH(mkdir(W(names[i]), 0755), names[i]);
    list_path("made", W("."));
    const char *gone[] = {"f", "f/", "none", "d", "d/", "d/e/.", "d/e/..", "d/e/", "d", "new"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) SAW_PATH(rmdir(W(gone[i])), gone[i]);
    list_path("left", W(""));
    SAW(unlink(W("f")));
}

static void listing(void) {
    char name[32];
    list_path("a directory to read", R("."));
    list_path("of a link to one", R("dirlink"));
    list_path("of a file", R("f"));
    list_path("of nothing", R("none"));
    mkdir(W("many"), 0755);
    for (int i = 0; i < 500; i++) { sprintf(name, "many/%03d", i); write_file(W(name), ""); }
    DIR *dir = opendir(W("many"));
    static char seen[500];
    int count = 0, twice = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        int number = atoi(entry->d_name);
        twice += seen[number]++;
        count++;
    }
    saw("entries of many", count);
    saw("seen twice", twice);
    rewinddir(dir);
    /* Removes each as it is seen. */
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        sprintf(name, "many/%s", entry->d_name);
        count -= unlink(W(name)) == 0;
    }
    saw("left after removing", count);
    write_file(W("many/new"), "");
    rewinddir(dir);
    list("after a rewind", dir);
    closedir(dir);
    SAW(rmdir(W("many")));
    SAW(unlink(W("many/new")));
    SAW(rmdir(W("many")));
}

static void places(void) {
    char name[32], first[32];
    mkdir(W("some"), 0755);
    for (int i = 0; i < 40; i++) { sprintf(name, "some/%d", i); write_file(W(name), ""); }
    DIR *dir = opendir(W("some"));
    for (int i = 0; i < 10; i++) readdir(dir);
    long place = telldir(dir);
    strcpy(first, readdir(dir)->d_name);
    int after = 1;
    while (readdir(dir)) after++;
    saw("entries from the place on", after);
    seekdir(dir, place);
    saw("the same entry at the same place", strcmp(readdir(dir)->d_name, first) == 0);
    /* Past the place, which stays what it was. */
    write_file(W("some/new"), "");
    seekdir(dir, place);
    saw("also after a new one", strcmp(readdir(dir)->d_name, first) == 0);
    closedir(dir);
}

static void descriptors(void) {
    int fd = open(W("some"), O_RDONLY | O_DIRECTORY);
    struct stat seen;
    SAW(fstat(fd, &seen));
    saw("a directory", S_ISDIR(seen.st_mode));
    char byte;
    SAW(read(fd, &byte, 1));
    SAW(openat(fd, "5", O_RDONLY) >= 0);
    SAW(openat(fd, "none", O_RDONLY));
    SAW(fstatat(fd, "5", &seen, 0));
    SAW(mkdirat(fd, "inner", 0755));
    SAW(renameat(fd, "5", fd, "inner/5"));
    SAW(unlinkat(fd, "inner", 0));
    SAW(unlinkat(fd, "inner", AT_REMOVEDIR));
    SAW(unlinkat(fd, "inner/5", 0));
    SAW(unlinkat(fd, "inner", AT_REMOVEDIR));
    DIR *dir = fdopendir(fd);
    int count = 0;
    while (readdir(dir)) count++;
    saw("entries by its descriptor", count);
    closedir(dir);
    SAW(close(fd));
    SAW(open(W("some"), O_WRONLY));
    SAW(open(W("some"), O_RDWR));
    SAW(open(W("some/1"), O_RDONLY | O_DIRECTORY));
    int file = open(W("some/1"), O_RDONLY);
    SAW(openat(file, "x", O_RDONLY));
    SAW(fdopendir(file) ? 0 : -1);
    close(file);
}

static void removed(void) {
    mkdir(W("gone"), 0755);
    int fd = open(W("gone"), O_RDONLY | O_DIRECTORY);
    SAW(rmdir(W("gone")));
    SAW(openat(fd, "x", O_CREAT | O_WRONLY, 0644));
    SAW(mkdirat(fd, "x", 0755));
    struct stat seen;
    SAW(fstat(fd, &seen));
    write_file(W("f"), "x");
    SAW(renameat(AT_FDCWD, W("f"), fd, "f"));
    saw_text("it is still where it was", text_of(W("f")));
    close(fd);
}

void checks(void) {
    making();
    listing();
    places();
    descriptors();
    removed();
}
