"""Prints a line of 50 MB. What is kept of output is bounded.

args: ((), {})
native: value None
sandbox: same
limits: timeout_s=10 memory_mb=256
"""


def print_one_long_line():
    print("x" * 50_000_000)
