/* scrypt of libscrypt; belljar_hash.py checks the arguments. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "libscrypt.h"

static PyObject *derive(PyObject *self, PyObject *args) {
    Py_buffer password, salt;
    unsigned long long n;
    unsigned int r, p;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(args, "y*y*KIIn", &password, &salt, &n, &r, &p, &length)) return NULL;
    PyObject *key = PyBytes_FromStringAndSize(NULL, length);
    if (key != NULL && libscrypt_scrypt(password.buf, password.len, salt.buf, salt.len, n, r, p,
                                        (uint8_t *)PyBytes_AS_STRING(key), length)) {
        Py_CLEAR(key);
        PyErr_NoMemory();
    }
    PyBuffer_Release(&password);
    PyBuffer_Release(&salt);
    return key;
}

static PyMethodDef methods[] = {{"derive", derive, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_belljar_scrypt", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__belljar_scrypt(void) { return PyModuleDef_Init(&definition); }
