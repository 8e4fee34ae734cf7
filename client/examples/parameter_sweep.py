"""Sweeps two parameters and shows each result as it comes; one that fails does not stop the others.

    python examples/parameter_sweep.py
"""

import itertools

import belljar


def iterate(rate, start, steps=500):
    """Where the logistic map comes to after so many steps."""
    if not 0 < start < 1:
        raise ValueError(f"start is {start}: it must be between 0 and 1")
    for _ in range(steps):
        start = rate * start * (1 - start)
    return round(start, 3)


def main():
    with belljar.Executor() as executor:
        grid = itertools.product((2.5, 2.8), (0.2, 0.6, 1.5))
        futures = {executor.submit(iterate, rate, start): (rate, start) for rate, start in grid}
        for future in belljar.as_completed(futures):
            rate, start = futures[future]
            print(f"rate {rate}, start {start}: {future.exception() or future.result()}")


if __name__ == "__main__":
    main()
