"""What imports and compiled packages cost in the sandbox, beside native calls, in one run.

    make bench-packages

First functions that import more and more: the first call, which imports, then calls one at a time and a batch on two slots; natively and
in the sandbox, where every call has a fresh interpreter. Then work of numpy and pandas, timed inside the call.
"""

import argparse
import dataclasses
import io
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "client/src"), str(ROOT / "testkit/python")]

import belljar
import belljar_testkit
import jinja2
import numpy as np
import pandas as pd
import requests

PURE = ("certifi", "charset_normalizer", "idna", "jinja2", "requests", "urllib3")
RUNTIMES = ("native", "sandbox")
# Until the sandbox has a function warm: images are made beside calls.
WARM_UP = 30
# Rows take turns: what changes between turns meets all.
TURNS = 5


def no_op(x):
    return x


def with_stdlib(x):
    return x if json and re and dataclasses else None


def with_requests(x):
    return x if requests else None


def with_jinja2(x):
    return x if jinja2 else None


def with_numpy(x):
    return x if np else None


def with_tables(x):
    return x if np and pd else None


IMPORTS = {
    "nothing": no_op,
    "json, re, dataclasses": with_stdlib,
    "requests": with_requests,
    "jinja2": with_jinja2,
    "numpy": with_numpy,
    "numpy, pandas": with_tables,
}


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul():
    a = np.random.default_rng(1).random((500, 500))
    return timed(lambda: a @ a)


def sort():
    a = np.random.default_rng(1).random(1_000_000)
    return timed(lambda: np.sort(a))


def exp():
    a = np.random.default_rng(1).random(1_000_000)
    return timed(lambda: np.exp(a))


def solve():
    a = np.random.default_rng(1).random((300, 300))
    return timed(lambda: np.linalg.solve(a, a[0]))


def group():
    keys = np.random.default_rng(1).integers(0, 100, 100_000)
    table = pd.DataFrame({"key": keys, "value": keys * 0.5})
    return timed(lambda: table.groupby("key")["value"].mean())


def read_table():
    text = "place,sold,price\n" + "".join(f"place {n % 50},{n},{n / 7:.3f}\n" for n in range(20_000))
    return timed(lambda: pd.read_csv(io.StringIO(text)))


def merge():
    left = pd.DataFrame({"key": np.arange(50_000) % 5_000, "a": np.arange(50_000)})
    right = pd.DataFrame({"key": np.arange(5_000), "b": np.arange(5_000)})
    return timed(lambda: left.merge(right, on="key"))


WORK = {
    "product of two 500 x 500 matrices": matmul,
    "sort of 1,000,000 numbers": sort,
    "exp of 1,000,000 numbers": exp,
    "300 equations solved": solve,
    "groupby of 100,000 rows, mean": group,
    "read_csv of 20,000 rows": read_table,
    "merge of 50,000 rows": merge,
}


class Row:
    """The calls of one function in one runtime."""

    def __init__(self, executor, function):
        self.executor, self.function, self.singles = executor, function, []
        self.first_ms = 1e3 * timed(lambda: executor.submit(function, 0).result())
        for n in range(WARM_UP):
            assert executor.submit(function, n).result() == n

    def turn(self, count):
        self.singles += (1e3 * timed(lambda: self.executor.submit(self.function, n).result()) for n in range(count))

    def batch(self, count):
        took = [timed(lambda: list(self.executor.map(self.function, range(count)))) for _ in range(3)]
        self.rate = count / statistics.median(took)

    @property
    def p50(self):
        return statistics.median(self.singles)

    @property
    def p99(self):
        return sorted(self.singles)[int(0.99 * len(self.singles))]


def show_imports(executors, options):
    rows = {(name, runtime): Row(executors[runtime], function) for name, function in IMPORTS.items() for runtime in RUNTIMES}
    for _ in range(TURNS):
        for row in rows.values():
            row.turn(options.singles // TURNS)
    for row in rows.values():
        row.batch(options.batch)
    print("| the function's module imports | native: first call (ms) | p50 | calls/s | sandbox: first call (ms) | p50 | p99 | calls/s | p50 beyond nothing |")
    print("|---|---|---|---|---|---|---|---|---|")
    nothing = rows["nothing", "sandbox"].p50
    for name in IMPORTS:
        native, sandbox = (rows[name, runtime] for runtime in RUNTIMES)
        cells = [f"{native.first_ms:.1f}", f"{native.p50:.2f}", f"{native.rate:,.0f}"]
        cells += [f"{sandbox.first_ms:.1f}", f"{sandbox.p50:.2f}", f"{sandbox.p99:.2f}", f"{sandbox.rate:,.0f}", f"{sandbox.p50 - nothing:+.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def show_work(executors, options):
    print("\nWork of numpy and pandas, timed inside the call, the shortest of several. Natively numpy has OpenBLAS and the vectors of the")
    print("machine's processor; in the sandbox neither.\n")
    print("| work inside a call | native (ms) | sandbox (ms) | ratio |\n|---|---|---|---|")
    for name, work in WORK.items():
        native, sandbox = (1e3 * min(executors[runtime].submit(work).result() for _ in range(options.repeats)) for runtime in RUNTIMES)
        print(f"| {name} | {native:.2f} | {sandbox:.2f} | {sandbox / native:.1f} |", flush=True)


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--belljar", default="target/release/belljar")
    parse.add_argument("--singles", type=int, default=1000)
    parse.add_argument("--batch", type=int, default=4000)
    parse.add_argument("--repeats", type=int, default=7)
    options = parse.parse_args()
    print("# What imports and packages cost\n")
    print("Generated by `make bench-packages`, on one machine with two slots; do not edit. Functions refer to modules, which a call")
    print("imports where they are not there yet: natively once for each process, in the sandbox once for each function, whose later calls")
    print("[start with them](../explanation/decisions/warm-functions.md) and are each in a fresh interpreter all the same.\n")
    site = Path(requests.__file__).parents[1]
    with tempfile.TemporaryDirectory() as pure:
        for package in PURE:
            shutil.copytree(site / package, Path(pure) / package)
        with belljar_testkit.Service(options.belljar, "--slots", "2", "--site", str(site), "--python-path", pure) as up:
            executors = {runtime: belljar.Executor(up.url, runtime=runtime, retries=0) for runtime in RUNTIMES}
            show_imports(executors, options)
            show_work(executors, options)
            for executor in executors.values():
                executor.shutdown()


if __name__ == "__main__":
    main()
