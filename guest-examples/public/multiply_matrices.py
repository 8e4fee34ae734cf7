"""Multiplies two matrices with numpy. The interpreters of the tests have numpy in the sandbox only.

args: (([[1, 2], [3, 4]], [[5, 6], [7, 8]]), {})
native: unsafe
sandbox: value ([[19, 22], [43, 50]], 'int64')
reported: https://github.com/bytecodealliance/componentize-py/issues/92: `import numpy` failed: its C extensions could not be imported
"""


def multiply_matrices(one, other):
    import numpy as np

    product = np.array(one) @ np.array(other)
    return product.tolist(), str(product.dtype)
