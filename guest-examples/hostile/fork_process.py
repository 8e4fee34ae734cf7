"""Forks.

args: ((), {})
native: unsafe
sandbox: raises OSError containing the sandbox has one process
"""


def fork_process():
    import os

    while True:
        os.fork()
