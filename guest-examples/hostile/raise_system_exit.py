"""Raises SystemExit, which is an exception like any other here.

args: ((3,), {})
native: raises SystemExit containing 3
sandbox: same
"""


def raise_system_exit(code):
    import sys

    sys.exit(code)
