"""Recurs through C until the stack ends, in a destructor, where no exception gets out.

args: ((), {})
native: unsafe
sandbox: raises RecursionError containing stack limit
sandbox-3.13: value 'survived'
limits: timeout_s=5 memory_mb=128
"""


def recurse_in_del():
    import sys

    sys.setrecursionlimit(10**9)

    class Deep:
        def __repr__(self):
            return repr(Deep())

    class Last:
        def __del__(self):
            repr(Deep())

    Last()
    return "survived"
