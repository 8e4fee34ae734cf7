"""A module that workers find on their `--python-path`."""


def treble(x):
    return 3 * x
