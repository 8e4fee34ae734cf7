"""Reads memory at address 0 through ctypes. What it imports is seen at registration.

args: ((), {})
native: unsafe
sandbox: refused ctypes
"""

import ctypes


def load_ctypes():
    return ctypes.string_at(0)
