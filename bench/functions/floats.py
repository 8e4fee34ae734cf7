"""Floating point arithmetic."""


def floats(n):
    x, y, total = 0.5, 0.25, 0.0
    for _ in range(100_000):
        x = 3.9 * x * (1.0 - x)
        y = y * 0.999 + x
        total += y / (x + 1.0)
    return total + n
