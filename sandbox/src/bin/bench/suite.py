"""Pure Python work, timed alike in the sandbox and natively: `f` gives seconds by name, of processor
time, so that what else the machine does counts little.
"""

import json
import re
import time


def fib(n=23):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def loops():
    total = 0
    for i in range(300_000):
        if i & 3:
            total += i * 2 % 7
    return total


def dicts():
    table = {}
    for i in range(60_000):
        table[f"k{i % 5000}"] = table.get(f"k{i % 5000}", 0) + i
    return len(table)


def strings():
    words = "the quick brown fox jumps over the lazy dog".split()
    return len(" ".join(w.upper().replace("O", "0")[::-1] for _ in range(4000) for w in words))


def jsons():
    data = [{"id": i, "name": f"n{i}", "tags": ["a", "b"], "x": i / 3} for i in range(1500)]
    return len(json.loads(json.dumps(data)))


def sorts():
    seed, numbers = 1, []
    for _ in range(40_000):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        numbers.append(seed)
    return sorted(numbers)[0] + sorted(numbers, key=lambda n: -n)[0]


def regexes():
    text = "alpha-12 beta-345 gamma-6 " * 1500
    return len(re.findall(r"([a-z]+)-(\d+)", text)) + len(re.sub(r"\d+", "#", text))


def floats():
    x, y, total = 0.5, 0.25, 0.0
    for _ in range(150_000):
        x = 3.9 * x * (1.0 - x)
        y = y * 0.999 + x
        total += y / (x + 1.0)
    return total


def f(rounds=3):
    best = {}
    for work in (fib, loops, dicts, strings, jsons, sorts, regexes, floats):
        for _ in range(rounds):
            start = time.process_time()
            work()
            took = time.process_time() - start
            best[work.__name__] = min(took, best.get(work.__name__, took))
    return best

