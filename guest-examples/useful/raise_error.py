"""Raises an exception of its own class, which the client gets as it is.

args: ((-1,), {})
native: raises Negative containing -1 is negative
sandbox: same
"""


def raise_error(n):
    class Negative(ValueError):
        pass

    if n < 0:
        raise Negative(f"{n} is negative")
    return n**0.5
