"""Ends the interpreter without an exception.

args: ((), {})
native: raises RuntimeError
sandbox: raises RuntimeError
"""


def exit_interpreter():
    import os

    os._exit(0)
