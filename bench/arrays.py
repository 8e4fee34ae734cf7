"""A numpy array there and back, beside `concurrent.futures.ProcessPoolExecutor`: one Python process, two workers, one run.

    python -m venv arrays && arrays/bin/pip install numpy dill cloudpickle
    arrays/bin/python bench/arrays.py --belljar target/release/belljar [--mib 100] [--count 5]

The service's native interpreters use the packages of the Python that runs this, which needs numpy.
"""

import argparse
import statistics
import sys
import sysconfig
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "client/src"))

import numpy

import belljar
from python_client import service


def back(array):
    return array


def timed(executor, array):
    cpu, start = time.process_time(), time.perf_counter()
    result = executor.submit(back, array).result()
    took = time.perf_counter() - start, time.process_time() - cpu
    assert (result == array).all()
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belljar", required=True)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--mode", default="local")
    options = parser.parse_args()
    array = numpy.random.default_rng(0).random(options.mib << 17)
    site = {"BELLJAR_SITE": sysconfig.get_path("purelib")}
    with service(options.belljar, options.mode, environment=site) as (_, url), ProcessPoolExecutor(2) as pool:
        with belljar.Executor(url, runtime="native", memory_mb=8 * options.mib + 256) as executor:
            samples = {pool: [], executor: []}
            for turn in range(options.count + 1):  # In turn, so that a change of the machine's speed meets both.
                for one, taken in samples.items():
                    took = timed(one, array)
                    taken.extend([took] if turn else [])
    print(f"| {options.mib} MiB there and back, median | ms | the client's processor time, ms |\n|---|---|---|")
    walls = []
    for name, taken in zip(("process pool", "belljar"), samples.values()):
        wall, cpu = (statistics.median(column) * 1e3 for column in zip(*taken))
        walls.append(wall)
        print(f"| {name} | {wall:.0f} | {cpu:.0f} |")
    print(f"\n{walls[1] / walls[0]:.2f} times as long")


if __name__ == "__main__":
    main()
