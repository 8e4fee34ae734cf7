"""Makes arrays with numpy and prints one. The interpreters of the tests have numpy in the sandbox only.

args: ((10,), {})
native: unsafe
sandbox: value ('[1. 1. 1. 1. 1. 1. 1. 1. 1. 1.]', 45)
reported: https://github.com/wapm-packages/python/issues/2: `import numpy` found no module `numpy.core._multiarray_umath`
"""


def fill_array(count):
    import numpy as np

    return str(np.ones(count)), int(np.arange(count).sum())
