"""Estimates pi from random points: a map over seeds, summed up here.

    python examples/monte_carlo.py [CALLS]
"""

import sys

import belljar


def hits(seed, points):
    """How many of so many random points lie in the circle."""
    import random

    rng = random.Random(seed)
    return sum(rng.random() ** 2 + rng.random() ** 2 <= 1 for _ in range(points))


def main(calls=40, points=20_000):
    with belljar.Executor() as executor:
        inside = sum(executor.map(hits, range(calls), [points] * calls))
    print(f"pi is about {4 * inside / (calls * points):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
