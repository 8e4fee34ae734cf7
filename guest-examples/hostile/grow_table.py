"""Grows a dictionary until memory ends.

args: ((), {})
native: raises MemoryError
sandbox: same
limits: timeout_s=10 memory_mb=128
"""


def grow_table():
    table = {}
    n = 0
    while True:
        table[n] = n
        n += 1
