"""Solves a system of linear equations with numpy. The interpreters of the tests have it in the sandbox only.

args: (([[3, 1], [1, 2]], [9, 8]), {})
native: unsafe
sandbox: value [2.0, 3.0]
"""


def solve_matrix(matrix, right):
    import numpy as np

    return np.linalg.solve(np.array(matrix, float), np.array(right, float)).round(9).tolist()
