"""Nothing: what a call costs by itself."""


def noop(n):
    return n
