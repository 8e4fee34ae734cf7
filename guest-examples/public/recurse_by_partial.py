"""Recurses without an end through `functools.partial`, whose calls are of C code.

args: ((), {})
native: value 'RecursionError'
sandbox: same
reported: https://github.com/pyodide/pyodide/issues/5959: the interpreter ended with a fatal error of the host's stack
"""


def recurse_by_partial():
    from functools import partial

    def visit(node, depth=0):
        for part in node:
            partial(visit, depth=depth + 1)(part)

    circle = []
    circle.append(circle)
    try:
        visit(circle)
    except RecursionError:
        return "RecursionError"
