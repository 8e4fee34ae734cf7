"""Lifts the interpreter's own limit, then recurs through C until the stack ends.

args: ((), {})
native: unsafe
sandbox: raises RecursionError containing stack limit
sandbox-3.13: raises RecursionError containing maximum recursion depth
limits: timeout_s=5 memory_mb=128
"""


def raise_recursion_limit():
    import sys

    sys.setrecursionlimit(10**9)

    class Deep:
        def __repr__(self):
            return repr(Deep())

    return repr(Deep())
