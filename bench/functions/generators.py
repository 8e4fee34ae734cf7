"""Generators feeding each other."""


def generators(n):
    def numbers():
        for i in range(150_000):
            yield i ^ n

    odd = (number for number in numbers() if number & 1)
    return sum(number * 3 for number in odd)
