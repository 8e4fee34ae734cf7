"""Recurs without end.

args: ((), {})
native: raises RecursionError containing maximum recursion depth
sandbox: same
limits: timeout_s=5 memory_mb=128
"""


def recurse_plainly():
    return recurse_plainly()
