"""Repeats a text into more memory than it may have.

args: ((), {})
native: raises MemoryError
sandbox: same
limits: timeout_s=5 memory_mb=128
"""


def repeat_text():
    return len("ab" * 10**9)
