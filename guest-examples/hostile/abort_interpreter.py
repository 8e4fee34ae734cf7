"""Aborts the interpreter.

args: ((), {})
native: raises RuntimeError containing SIGABRT
sandbox: raises RuntimeError
"""


def abort_interpreter():
    import os

    os.abort()
