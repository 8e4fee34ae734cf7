"""Scales scores by numpy to a mean of 0 and a deviation of 1. The interpreters of the tests have numpy in the sandbox only.

args: (([[1, 10], [2, 20], [3, 60]],), {})
native: unsafe
sandbox: value [[-1.225, -0.926], [0.0, -0.463], [1.225, 1.389]]
reported: https://github.com/extism/python-pdk/issues/57: packages with native code, such as numpy, are not supported
"""


def scale_scores(rows):
    import numpy as np

    table = np.asarray(rows, float)
    return ((table - table.mean(axis=0)) / table.std(axis=0)).round(3).tolist()
