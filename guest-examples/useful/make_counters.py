"""Makes closures that each keep a count of their own.

args: ((2, 3), {"step": 10})
native: value [[10, 20], [10, 20, 30]]
sandbox: same
"""


def make_counters(*calls, step=1):
    def make():
        count = 0

        def next_count():
            nonlocal count
            count += step
            return count

        return next_count

    counters = [make() for _ in calls]
    return [[counter() for _ in range(n)] for counter, n in zip(counters, calls)]
