"""Looks for a library of the machine, to call it by ctypes.

args: (("c",), {})
native: value True
sandbox: refused ctypes
reported: https://github.com/python/cpython/issues/99948: `ctypes.util.find_library` does not work
"""


def find_library(name):
    import ctypes.util

    return ctypes.util.find_library(name) is not None
