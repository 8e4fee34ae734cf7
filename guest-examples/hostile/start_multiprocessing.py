"""Starts worker processes.

args: ((), {})
native: unsafe
sandbox: raises OSError containing one process
"""


def start_multiprocessing():
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        return pool.map(abs, [-1, -2])
