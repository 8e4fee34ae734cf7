"""Decimal arithmetic: a square root by Newton's method, and interest."""


def decimals(n):
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    root = Decimal(n + 2)
    for _ in range(200):
        root = (root + (n + 2) / root) / 2
    money = Decimal("1000.00")
    for _ in range(20_000):
        money = (money * Decimal("1.0003")).quantize(Decimal("0.01"))
    return f"{root} {money}"
