"""Calls of Python functions."""


def fib(n):
    def one(k):
        return k if k < 2 else one(k - 1) + one(k - 2)

    return n + one(25)
