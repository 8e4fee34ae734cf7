"""Recurses without an end, catches the error, and works on.

args: ((), {})
native: value (True, '1/2')
sandbox: same
reported: https://github.com/pyodide/pyodide/issues/951: the recursion could not be caught, and imports failed after it
"""


def survive_recursion():
    def endless():
        return 1 + endless()

    try:
        endless()
    except RecursionError as error:
        said = str(error).startswith("maximum recursion depth exceeded")
    import fractions

    return said, str(fractions.Fraction(3, 6))
