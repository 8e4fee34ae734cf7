"""Forks.

args: ((), {})
native: unsafe
sandbox: raises AttributeError containing module 'os' has no attribute 'fork'
"""


def fork_process():
    import os

    while True:
        os.fork()
