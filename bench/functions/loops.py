"""Loops, branches, small integers."""


def loops(n):
    total = n
    for i in range(150_000):
        if i & 3:
            total += i * 2 % 7
    return total
