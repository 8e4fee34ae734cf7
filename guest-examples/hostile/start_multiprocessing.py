"""Starts worker processes.

args: ((), {})
native: unsafe
sandbox: raises ModuleNotFoundError containing _multiprocessing
sandbox-3.13: raises OSError containing the sandbox has one process
"""


def start_multiprocessing():
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, [-1, -2])
