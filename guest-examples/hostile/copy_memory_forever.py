"""Copies large blocks of memory forever.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def copy_memory_forever():
    block = bytearray(16 << 20)
    while True:
        block[: 8 << 20] = block[8 << 20 :]
