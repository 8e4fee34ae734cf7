"""Draws samples with numpy from a seed, and fits a line to them. The interpreters of the tests have numpy in the sandbox only.

args: ((7, 200), {})
native: unsafe
sandbox: value (3.0, 1.0, [27, 9, 17, 96, 38])
reported: https://github.com/bytecodealliance/componentize-py/issues/50: `import numpy` failed in `numpy.random`: no PyInit_mtrand
"""


def draw_samples(seed, count):
    import numpy as np

    chance = np.random.default_rng(seed)
    x = chance.uniform(0, 10, count)
    y = 3 * x + 1 + chance.normal(0, 0.1, count)
    slope, start = np.polyfit(x, y, 1)
    return round(float(slope), 2), round(float(start), 1), chance.integers(0, 100, 5).tolist()
