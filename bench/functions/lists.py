"""Lists: appended to, sliced, reversed, comprehended."""


def lists(n):
    numbers = [n]
    for i in range(120_000):
        numbers.append(i ^ n)
    halves = [a + b for a, b in zip(numbers[::2], reversed(numbers[1::2]))]
    return sum(halves) + len(set(halves))
