"""Writes out a list that is nested 100,000 deep.

args: ((), {})
native: raises RecursionError
sandbox: same
limits: timeout_s=5 memory_mb=128
"""


def show_deep_list():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return len(repr(deep))
