"""Dictionaries with text keys."""


def dicts(n):
    table = {}
    for i in range(40_000):
        key = f"k{(i + n) % 5000}"
        table[key] = table.get(key, 0) + i
    return sum(table.values())
