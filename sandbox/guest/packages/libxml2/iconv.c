/* See iconv.h. A codec takes all that it gets, where `iconv` stops at an error, an end within a character or the end of the room: so pieces are
 * tried, and a shorter one where that was too much. The interpreter is always held: lxml is compiled without threads. */
#include <errno.h>

/* Before Python.h, which has Linux's numbers in place of those of the C library: libxml2 has the latter. */
enum { NO_CHARACTER = EILSEQ, NOT_WHOLE = EINVAL, NO_ROOM = E2BIG };
static void set_errno(int number) { errno = number; }

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <strings.h>

#include "iconv.h"

/* A piece is no longer, so that one character in many that the other encoding has not costs little. */
enum { MOST = 8192 };

struct belljar_iconv {
    /* An incremental decoder, or encoder. */
    PyObject *codec;
    bool decodes;
};

/* What a piece becomes. */
struct piece {
    /* NULL where it has an error. */
    PyObject *bytes;
    /* How much of it that is; or how much comes before the error. */
    size_t taken;
};

/* What `iconv` calls what Python calls otherwise, in small letters. UCS-4 is big-endian, as in the C library of GNU. */
static const char *const RENAMED[][2] = {
    {"ucs-4", "utf-32-be"},   {"iso-10646-ucs-4", "utf-32-be"}, {"ucs-4be", "utf-32-be"}, {"ucs-4le", "utf-32-le"}, {"ucs4le", "utf-32-le"},
    {"ucs-2", "utf-16-le"},   {"iso-10646-ucs-2", "utf-16-le"}, {"ucs-2be", "utf-16-be"}, {"ucs-2le", "utf-16-le"}, {"ibm-037", "cp037"},
};

/* Of texts, but not of characters: none of these names a file's encoding. */
static const char *const REFUSED[] = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined"};

/* The codec of this name, as `codecs.lookup` gives it. */
static PyObject *look_up(const char *name) {
    for (size_t at = 0; at < sizeof RENAMED / sizeof *RENAMED; at++)
        if (strcasecmp(name, RENAMED[at][0]) == 0) name = RENAMED[at][1];
    PyObject *found = _PyCodec_Lookup(name);
    if (found == NULL) return NULL;
    PyObject *texts = PyObject_GetAttrString(found, "_is_text_encoding"), *known = PyObject_GetAttrString(found, "name");
    bool good = texts == Py_True && known != NULL && PyUnicode_Check(known);
    for (size_t at = 0; good && at < sizeof REFUSED / sizeof *REFUSED; at++)
        good = !_PyUnicode_EqualToASCIIString(known, REFUSED[at]);
    Py_XDECREF(texts);
    Py_XDECREF(known);
    if (!good) Py_CLEAR(found);
    return found;
}

iconv_t iconv_open(const char *to, const char *from) {
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    bool decodes = strcasecmp(to, "UTF-8") == 0;
    PyObject *found = look_up(decodes ? from : to);
    PyObject *codec = found ? PyObject_CallMethod(found, decodes ? "incrementaldecoder" : "incrementalencoder", NULL) : NULL;
    struct belljar_iconv *made = codec ? malloc(sizeof *made) : NULL;
    if (made != NULL)
        *made = (struct belljar_iconv){codec, decodes};
    else
        Py_XDECREF(codec);
    Py_XDECREF(found);
    PyErr_Restore(kind, value, trace);
    if (made != NULL) return made;
    set_errno(NOT_WHOLE);
    return (iconv_t)-1;
}

int iconv_close(iconv_t cd) {
    Py_DECREF(cd->codec);
    free(cd);
    return 0;
}

/* Where the error lies that the current exception tells of, which is cleared; 0 where it tells of none. */
static size_t start_of_error(PyObject *expected) {
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    PyObject *number = PyErr_GivenExceptionMatches(kind, expected) ? PyObject_GetAttrString(value, "start") : NULL;
    Py_ssize_t start = number ? PyLong_AsSsize_t(number) : 0;
    Py_XDECREF(number);
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    PyErr_Clear();
    return start > 0 ? start : 0;
}

/* What the decoder kept for later, as it is no whole character, is taken from it again. */
static struct piece decode(PyObject *codec, const char *in, size_t size) {
    struct piece piece = {NULL, 0};
    PyObject *text = PyObject_CallMethod(codec, "decode", "y#i", in, (Py_ssize_t)size, 0);
    if (text == NULL) {
        piece.taken = start_of_error(PyExc_UnicodeDecodeError);
        return piece;
    }
    PyObject *state = PyObject_CallMethod(codec, "getstate", NULL), *kept, *rest, *set = NULL;
    if (state != NULL && PyArg_ParseTuple(state, "SO", &kept, &rest) && (size_t)PyBytes_GET_SIZE(kept) <= size)
        set = PyObject_CallMethod(codec, "setstate", "((y#O))", "", (Py_ssize_t)0, rest);
    if (set != NULL && (piece.bytes = PyUnicode_AsUTF8String(text)) != NULL) piece.taken = size - PyBytes_GET_SIZE(kept);
    Py_XDECREF(set);
    Py_XDECREF(state);
    Py_DECREF(text);
    PyErr_Clear();
    return piece;
}

/* How many bytes of UTF-8 so many characters are. */
static size_t length_of(const char *in, size_t characters) {
    const char *at = in;
    for (; characters > 0; characters--)
        for (at++; (*at & 0xC0) == 0x80; at++) continue;
    return at - in;
}

/* Each piece ends as a whole text does: nobody says which is the last. */
static struct piece encode(PyObject *codec, const char *in, size_t size) {
    struct piece piece = {NULL, 0};
    /* Not set where it is ASCII. */
    Py_ssize_t whole = size;
    PyObject *text = PyUnicode_DecodeUTF8Stateful(in, size, NULL, &whole);
    if (text == NULL) {
        piece.taken = start_of_error(PyExc_UnicodeDecodeError);
        return piece;
    }
    /* Of no text some encodings make a mark of byte order. */
    piece.bytes = whole ? PyObject_CallMethod(codec, "encode", "Oi", text, 1) : PyBytes_FromStringAndSize(NULL, 0);
    Py_DECREF(text);
    if (piece.bytes == NULL)
        piece.taken = length_of(in, start_of_error(PyExc_UnicodeEncodeError));
    else if (PyBytes_Check(piece.bytes))
        piece.taken = whole;
    else
        Py_CLEAR(piece.bytes);
    return piece;
}

/* `iconv` with no exception set: 0 or the error. */
static int convert(iconv_t cd, char **in, size_t *in_left, char **out, size_t *out_left) {
    /* A piece of `partial` bytes is not one whole character, one of `bad` bytes ends in `error`. */
    size_t size = MOST, partial = 0, bad = SIZE_MAX;
    int error = 0;
    while (*in_left > 0) {
        if (size > *in_left) size = *in_left;
        PyObject *before = PyObject_CallMethod(cd->codec, "getstate", NULL);
        struct piece piece = cd->decodes ? decode(cd->codec, *in, size) : encode(cd->codec, *in, size);
        size_t length = piece.bytes ? PyBytes_GET_SIZE(piece.bytes) : 0;
        bool good = piece.bytes != NULL && length <= *out_left;
        if (good) {
            memcpy(*out, PyBytes_AS_STRING(piece.bytes), length);
            *out += length, *out_left -= length;
            *in += piece.taken, *in_left -= piece.taken;
        } else {
            if (before != NULL) Py_XDECREF(PyObject_CallMethod(cd->codec, "setstate", "(O)", before));
            error = piece.bytes ? NO_ROOM : NO_CHARACTER;
            bad = piece.bytes ? size : piece.taken < size ? piece.taken + 1 : 1;
        }
        Py_XDECREF(piece.bytes);
        Py_XDECREF(before);
        PyErr_Clear();
        if (good && piece.taken > 0) {
            size = MOST, partial = 0, bad = SIZE_MAX;
            continue;
        }
        if (good && size == *in_left) return NOT_WHOLE;
        if (good) partial = size;
        size = bad == SIZE_MAX ? 2 * size : error == NO_CHARACTER ? bad - 1 : (partial + bad) / 2;
        if (size <= partial) return error;
    }
    return 0;
}

size_t iconv(iconv_t cd, char **in, size_t *in_left, char **out, size_t *out_left) {
    /* Without a text it would end the one before, as every piece has ended already. */
    if (in == NULL || *in == NULL) return 0;
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    int error = convert(cd, in, in_left, out, out_left);
    PyErr_Restore(kind, value, trace);
    if (error == 0) return 0;
    set_errno(error);
    return (size_t)-1;
}
