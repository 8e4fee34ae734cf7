"""Asks for more memory than it may have, little by little.

args: ((), {})
native: raises MemoryError
sandbox: same
limits: timeout_s=60 memory_mb=128
"""


def allocate_many_objects():
    kept = []
    while True:
        kept.append([kept])
