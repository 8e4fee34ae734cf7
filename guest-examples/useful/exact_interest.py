"""Computes compound interest in decimals, rounded as banks round.

args: (("1000.00", "0.035", 7), {})
native: value Decimal('1272.28')
sandbox: same
"""


def exact_interest(amount, rate, years):
    from decimal import ROUND_HALF_EVEN, Decimal, localcontext

    with localcontext() as context:
        context.prec = 40
        grown = Decimal(amount) * (1 + Decimal(rate)) ** years
        return grown.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
