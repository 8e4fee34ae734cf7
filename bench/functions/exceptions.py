"""Exceptions, raised and caught."""


def exceptions(n):
    caught = 0
    for i in range(80_000):
        try:
            if i % 2:
                raise ValueError(i)
            caught += {}.get(i, 1)
        except ValueError as error:
            caught += error.args[0]
    return caught + n
