"""Waits, and uses no processor meanwhile."""


def sleep(n, seconds):
    import time

    time.sleep(seconds)
    return n
