"""Sorts a long list by a new order again and again.

args: ((), {})
native: raises TimeoutError containing 500ms
sandbox: same
limits: timeout_s=0.5 memory_mb=128
"""


def sort_huge_list():
    import random

    numbers = [random.random() for _ in range(200_000)]
    while True:
        numbers.sort(key=lambda _: random.random())
