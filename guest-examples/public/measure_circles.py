"""Computes areas of circles and the greatest common divisor of their radii.

args: (([2, 4, 10],), {})
native: value ([12.566, 50.265, 314.159], 2, True)
sandbox: same
reported: https://github.com/RustPython/RustPython/issues/4233: there was no module `math`
"""


def measure_circles(radii):
    import math

    return [round(math.pi * radius**2, 3) for radius in radii], math.gcd(*radii), math.isclose(math.hypot(3, 4), 5)
