"""Some 20 ms of one processor."""


def cpu(n):
    total = n
    for i in range(400_000):
        total = (total * 31 + i) & 0xFFFFFFFF
    return total
