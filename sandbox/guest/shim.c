/* The door between the host and CPython: what the host calls, and nothing else.
 *
 * `belljar_init` runs when the guest is built, once for each image; the memory it leaves behind is what
 * calls start from. `belljar_prepare` and `belljar_run` run once per call, in a fresh instance of it. A call of a session
 * starts from what the one before has left, after `belljar_settle`.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

/* Heap that the image holds ready, so that a small call never has to grow the memory. */
enum { SPARE_HEAP = 4 << 20 };

static PyObject *run;    /* runner.run */
static PyObject *warm;   /* belljar_warm.load */
static PyObject *seed;   /* the seeding method of random's hidden instance */
static void *numpy_state; /* the state of numpy.random's hidden generator; NULL without numpy */
static PyObject *path;   /* sys.path */
static PyObject *out, *err;
static PyObject *flush;  /* "flush" */

static void fail(const char *what) {
    if (PyErr_Occurred()) PyErr_Print();
    fprintf(stderr, "belljar: %s failed\n", what);
    abort();
}

static PyObject *borrow(PyObject *module, const char *name) {
    PyObject *value = PyObject_GetAttrString(module, name);
    if (value == NULL) fail(name);
    return value;
}

/* CPython would take its arenas from an mmap that wasi-libc emulates by clearing all of a malloc: every
 * page of an arena would be touched before it is used. */
static void *take_arena(void *context, size_t bytes) {
    (void)context;
    return malloc(bytes);
}

static void give_arena(void *context, void *arena, size_t bytes) {
    (void)context, (void)bytes;
    free(arena);
}

/* Extension modules of the packages; link.sh writes it. */
extern struct _inittab belljar_extensions[];

/* Of numpy, if it is linked. */
__attribute__((weak)) void mt19937_init_by_array(void *state, uint32_t *key, int length);

static void start_python(void) {
    if (PyImport_ExtendInittab(belljar_extensions)) fail("the table of extensions");
    PyObjectArenaAllocator arenas = {NULL, take_arena, give_arena};
    PyObject_SetArenaAllocator(&arenas);
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    if (PyStatus_Exception(Py_PreInitialize(&before))) fail("the pre-initialisation");
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 0;
    /* Strings hash with this seed for as long as the image lives: it cannot be changed afterwards. */
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    config.module_search_paths_set = 1;
    PyWideStringList_Append(&config.module_search_paths, L"/lib");
    PyWideStringList_Append(&config.module_search_paths, L"/site");
    PyStatus status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "belljar: %s\n", status.err_msg);
        fail("the initialisation");
    }
    /* WASI builds lower it; natively it is this, and both must mean the same. */
    Py_SetRecursionLimit(1000);
}

/* wasi-libc's, which `chdir` sets after it has looked at the folder. A call's `/tmp` is not there yet. */
extern char *__wasilibc_cwd;

/* Starts the interpreter; imports the first `packages` of belljar_packages as well. */
EXPORT("belljar_init") void init(unsigned packages) {
    start_python();
    PyObject *boot = PyImport_ImportModule("belljar_boot");
    if (boot == NULL) fail("belljar_boot");
    PyObject *generator = PyObject_CallMethod(boot, "load", "I", packages);
    if (generator == NULL) fail("load");
    if (generator != Py_None) {
        /* A bitgen_t, which begins with a pointer to its state. */
        void **bits = PyCapsule_GetPointer(generator, "BitGenerator");
        if (bits == NULL) fail("numpy.random");
        numpy_state = *bits;
    }
    Py_DECREF(generator);
    run = borrow(boot, "run");
    warm = borrow(boot, "warm");
    seed = borrow(boot, "seed");
    path = PySys_GetObject("path");
    out = PySys_GetObject("stdout");
    err = PySys_GetObject("stderr");
    flush = PyUnicode_InternFromString("flush");
    if (!path || !out || !err || !flush) fail("sys");
    PyObject *none = PyObject_CallMethod(boot, "freeze", NULL);
    if (none == NULL) fail("freeze");
    Py_DECREF(none);
    free(malloc(SPARE_HEAP));
    __wasilibc_cwd = "/tmp";
}

/* Seeds `random`, and numpy's, with 32 bytes of the host's randomness each and puts `paths` granted directories on sys.path. */
EXPORT("belljar_prepare") int prepare(int paths) {
    unsigned char bytes[32];
    if (getentropy(bytes, sizeof bytes)) return -1;
    PyObject *number = _PyLong_FromByteArray(bytes, sizeof bytes, 1, 0);
    PyObject *none = number ? PyObject_CallOneArg(seed, number) : NULL;
    Py_XDECREF(none);
    Py_XDECREF(number);
    int failed = none == NULL;
    if (numpy_state != NULL) {
        uint32_t key[8];
        if (getentropy(key, sizeof key)) return -1;
        mt19937_init_by_array(numpy_state, key, 8);
    }
    for (int i = 0; i < paths && !failed; i++) {
        PyObject *text = PyUnicode_FromFormat("/path/%d", i);
        failed = text == NULL || PyList_Insert(path, i, text);
        Py_XDECREF(text);
    }
    return failed ? -1 : 0;
}

/* What a call was given, and what `answer` points into: kept until the host has read the answer. */
static void *given[3];
static PyObject *answered;

EXPORT("belljar_alloc") void *allocate(size_t size) { return malloc(size); }

/* What the host reads back. A mirror of it stands in the host's answer.rs. */
struct text { const char *start; uint32_t length; };
static struct {
    uint32_t ok;
    struct text pickle, kind, message, traceback;
    uint32_t padding;
    uint64_t decode_us, call_us, encode_us;
} answer;

enum { ANSWERED = 0, OUT_OF_MEMORY = 1, TOO_DEEP = 2, BROKEN = 3 };

static int read_text(PyObject *item, struct text *text) {
    Py_ssize_t length;
    text->start = PyUnicode_AsUTF8AndSize(item, &length);
    if (text->start == NULL) { /* Lone surrogates: an exception's text may hold any. */
        PyErr_Clear();
        PyObject *bytes = PyUnicode_AsEncodedString(item, "utf-8", "backslashreplace");
        if (bytes == NULL) return -1;
        text->start = PyBytes_AS_STRING(bytes);
        length = PyBytes_GET_SIZE(bytes);
    }
    text->length = length;
    return 0;
}

static int failure(void) {
    int why = PyErr_ExceptionMatches(PyExc_MemoryError) ? OUT_OF_MEMORY
            : PyErr_ExceptionMatches(PyExc_RecursionError) ? TOO_DEEP : BROKEN;
    PyErr_Clear();
    return why;
}

static void flush_stream(PyObject *stream) {
    PyObject *none = PyObject_CallMethodNoArgs(stream, flush);
    if (none == NULL) PyErr_Clear();
    Py_XDECREF(none);
}

/* Unpickles the function in `code`, which comes from belljar_alloc, and imports what it names: a later belljar_run without
 * code calls it. Returns whether this memory can be where every call of the function starts. */
EXPORT("belljar_load") int load_function(char *code, size_t code_len) {
    PyObject *is_clean = PyObject_CallFunction(warm, "y#", code, (Py_ssize_t)code_len);
    free(code);
    int kept = is_clean == Py_True;
    Py_XDECREF(is_clean);
    return kept;
}

/* `code`, `args` and `env` come from belljar_alloc; without variables `env` is NULL, which Python gets as None, and
 * so is `code` where belljar_load had it. Returns one of the words above. */
EXPORT("belljar_run")
int run_call(char *code, size_t code_len, char *args, size_t args_len, char *env, size_t env_len) {
    given[0] = code, given[1] = args, given[2] = env;
    PyObject *result = PyObject_CallFunction(run, "y#y#y#", code, (Py_ssize_t)code_len, args,
                                             (Py_ssize_t)args_len, env, (Py_ssize_t)env_len);
    if (result == NULL) return failure();
    answered = result;
    if (!PyTuple_Check(result) || PyTuple_GET_SIZE(result) != 8) return BROKEN;
    answer.ok = PyObject_IsTrue(PyTuple_GET_ITEM(result, 0));
    PyObject *pickle = PyTuple_GET_ITEM(result, 1);
    if (!PyBytes_Check(pickle)) return BROKEN;
    answer.pickle.start = PyBytes_AS_STRING(pickle);
    answer.pickle.length = PyBytes_GET_SIZE(pickle);
    if (read_text(PyTuple_GET_ITEM(result, 2), &answer.kind) ||
        read_text(PyTuple_GET_ITEM(result, 3), &answer.message) ||
        read_text(PyTuple_GET_ITEM(result, 4), &answer.traceback)) return failure();
    answer.decode_us = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(result, 5));
    answer.call_us = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(result, 6));
    answer.encode_us = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(result, 7));
    flush_stream(out);
    flush_stream(err);
    return ANSWERED;
}

EXPORT("belljar_answer") void *where(void) { return &answer; }

/* Gives back what belonged to the last call alone, where others go on in this memory: those of a session. */
EXPORT("belljar_settle") void settle(void) {
    Py_CLEAR(answered);
    for (int i = 0; i < 3; i++) {
        free(given[i]);
        given[i] = NULL;
    }
}

#ifdef NEEDS_MEMFD_CREATE
int memfd_create(const char *name, unsigned flags) { return -1; }
#endif
