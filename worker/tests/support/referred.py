"""A module whose functions travel by reference."""


def double(x):
    return 2 * x


class Doubler:
    def __call__(self, x):
        return 2 * x
