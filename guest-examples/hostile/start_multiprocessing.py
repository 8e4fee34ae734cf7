"""Starts worker processes.

args: ((), {})
native: unsafe
sandbox: raises ModuleNotFoundError containing _multiprocessing
sandbox-3.13: raises AttributeError containing pipe
"""


def start_multiprocessing():
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, [-1, -2])
