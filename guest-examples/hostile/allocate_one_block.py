"""Asks for more memory than it may have, at once.

args: ((), {})
native: raises MemoryError
sandbox: same
limits: timeout_s=5 memory_mb=128
"""


def allocate_one_block():
    return len(bytearray(10**9))
