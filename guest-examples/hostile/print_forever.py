"""Prints lines without end. What is kept of output is bounded.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def print_forever():
    while True:
        print("again")
