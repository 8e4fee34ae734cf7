"""Reads and writes every small descriptor number but the three standard ones.

args: ((), {})
native: unsafe
sandbox: value []
"""


def guess_descriptors():
    import os

    reached = []
    for descriptor in range(3, 1024):
        for attempt in (lambda n: os.read(n, 1), lambda n: os.write(n, b"x")):
            try:
                attempt(descriptor)
                reached.append(descriptor)
            except OSError:
                pass
    return reached
