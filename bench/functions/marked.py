"""Nothing, with a mark by which many functions of different code are made of one."""


def marked(n):
    "00000000"
    return n
