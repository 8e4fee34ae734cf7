"""Reads past the end of an array through numpy's compiled code, to the end of the call's memory.

args: ((), {})
native: unsafe
sandbox: raises RuntimeError containing out of bounds
"""


def overrun_array():
    import numpy as np

    return np.lib.stride_tricks.as_strided(np.zeros(1), shape=(1 << 15,), strides=(1 << 16,)).sum()
