"""Makes a new object whenever the last one is destroyed, with the interpreter's limit on recursion lifted.

args: ((), {})
native: unsafe
sandbox: raises TimeoutError containing 500ms
limits: timeout_s=0.5 memory_mb=128
"""


def destroy_forever():
    import sys

    sys.setrecursionlimit(10**9)

    class Heir:
        def __del__(self):
            Heir()

    Heir()
