"""Sorting, with and without a key."""


def sorts(n):
    seed, numbers = n + 1, []
    for _ in range(20_000):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        numbers.append(seed)
    return sorted(numbers)[0] + sorted(numbers, key=lambda number: -number)[0]
