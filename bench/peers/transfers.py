"""1 MiB there and back, beside Ray, Huey and `concurrent.futures.ProcessPoolExecutor`: one Python process, two workers each, one run.

    make bench-transfers

The same function for all: it returns the bytes that it gets. Calls go one at a time, then 16 at once, of which the oldest is awaited before
the next is sent; systems take turns, so that a change of the machine's speed meets all. Huey has a Redis of its own, with an
append-only file, as belljar has.
"""

import argparse
import collections
import contextlib
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import peers

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
AT_ONCE = 16
TURNS = 5


def back(value):
    return value


def back_of_huey(value):
    return value


def huey_app():
    import huey

    app = huey.RedisHuey("belljar_transfers", url=peers.BROKER)
    # Both sides name the task by its module, which for the client would be `__main__`.
    back_of_huey.__module__ = "belljar_transfers"
    app.back = app.task()(back_of_huey)
    return app


# What the command line of its workers names.
if os.environ.get("BELLJAR_PEERS_SYSTEM") == "huey":
    app = huey_app()


@contextlib.contextmanager
def pool(_):
    with ProcessPoolExecutor(WORKERS) as executor:
        # Its workers have what is open here when they are forked: nothing of the others yet.
        executor.submit(back, b"").result()
        yield lambda value: executor.submit(back, value), lambda future: future.result()


@contextlib.contextmanager
def belljar(options):
    sys.path[:0] = [str(ROOT / "client/src"), str(ROOT / "testkit/python")]
    import belljar as package
    import belljar_testkit

    command = ["-m", options.mode, "-w", str(WORKERS), "--workers", "1"]
    with belljar_testkit.Service(options.belljar, *command) as up, package.Executor(up.url, runtime="native") as executor:
        yield lambda value: executor.submit(back, value), lambda future: future.result()


@contextlib.contextmanager
def ray(_):
    import ray as module

    module.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    remote = module.remote(back)
    yield remote.remote, module.get
    module.shutdown()


@contextlib.contextmanager
def huey(_):
    with peers.redis(), tempfile.TemporaryDirectory() as folder:
        # A module of that name, which its workers import.
        (Path(folder) / "belljar_transfers.py").symlink_to(__file__)
        path = os.pathsep.join([folder, str(Path(__file__).parent)])
        os.environ["PYTHONPATH"] = path
        command = ["huey.bin.huey_consumer", "belljar_transfers.app", "-k", "process", "-w", str(WORKERS), "-q"]
        # It looks for tasks so often, at most.
        with peers.consumer("huey", *command, "-d", "0.001", "-m", "0.01"):
            task = huey_app().back
            yield task, lambda result: result.get(blocking=True, backoff=1, max_delay=0.001, timeout=120)


SYSTEMS = {"ProcessPoolExecutor": pool, "belljar": belljar, "Ray": ray, "Huey": huey}


def one_at_a_time(submit, get, value, count):
    for _ in range(count):
        assert len(get(submit(value))) == len(value)


def at_once(submit, get, value, count):
    waiting = collections.deque()
    for _ in range(count):
        if len(waiting) == AT_ONCE:
            assert len(get(waiting.popleft())) == len(value)
        waiting.append(submit(value))
    for one in waiting:
        assert len(get(one)) == len(value)


def measured(work, *args):
    cpu, start = time.process_time(), time.perf_counter()
    work(*args)
    return time.perf_counter() - start, time.process_time() - cpu


def version(name):
    from importlib import metadata

    return "" if name in ("ProcessPoolExecutor", "belljar") else f" {metadata.version(name.lower())}"


def show(title, rows, options):
    calls = TURNS * options.turn
    print(f"\n{title}, in seconds for {calls} calls, and the client's processor time for each:\n")
    print("| system | seconds | fastest and slowest turn | of the pool's | processor time (ms) |\n|---|---|---|---|---|")
    least = sum(wall for wall, _ in rows["ProcessPoolExecutor"])
    for name, turns in rows.items():
        walls, cpus = zip(*turns)
        spread = f"{min(walls) * TURNS:.2f}, {max(walls) * TURNS:.2f}"
        print(f"| {name}{version(name)} | {sum(walls):.2f} | {spread} | {sum(walls) / least:.2f} | {sum(cpus) / calls * 1e3:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belljar", default=str(ROOT / "target/release/belljar"))
    parser.add_argument("--mode", default="local", help="how belljar's tasks get to its workers")
    parser.add_argument("--turn", type=int, default=40, help="calls of a turn")
    parser.add_argument("--kib", type=int, default=1024)
    options = parser.parse_args()
    value = os.urandom(options.kib << 10)
    busy = os.getloadavg()[0]
    rows = {work: {name: [] for name in SYSTEMS} for work in (one_at_a_time, at_once)}
    with contextlib.ExitStack() as stack:
        systems = {name: stack.enter_context(make(options)) for name, make in SYSTEMS.items()}
        for turn in range(-1, TURNS):
            for work, taken in rows.items():
                for name, (submit, get) in systems.items():
                    took = measured(work, submit, get, value, options.turn)
                    taken[name].extend([took] if turn >= 0 else [])
    print("# 1 MiB there and back\n" if options.kib == 1024 else f"# {options.kib} KiB there and back\n")
    print(f"Generated by `make bench-transfers`; do not edit. One Python {sys.version.split()[0]}, {WORKERS} workers of each system on one machine")
    print(f"with {os.cpu_count()} processors, random bytes; belljar natively in mode {options.mode}. The systems are all up at the same time and take turns.")
    print(f"What else ran on the machine: a load of {busy:.1f} in the minute before.")
    show("One at a time", rows[one_at_a_time], options)
    show(f"{AT_ONCE} at once", rows[at_once], options)


if __name__ == "__main__":
    main()
