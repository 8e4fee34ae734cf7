"""What idle sessions take, and how fast one goes on elsewhere, in one run.

    make bench-sessions

Sessions are made with a step each and left idle: memory of each process and of Redis before and after. Then every worker is killed (SIGKILL),
and each session takes a step on a worker that is new, and another one: that must find what the step before has left. Beside them no-ops of
the sandbox without a session.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "client/src"), str(ROOT / "testkit/python")]

import belljar
import belljar_testkit
from values import PARTS, processes

WORKERS = 2
NO_OPS = 300


def no_op():
    pass


def resident(pid):
    """Memory of a process that is its own or its share of what is shared, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def memory(root):
    """MiB by what the processes are."""
    return {name: sum(map(resident, pids)) for name, pids in processes(root).items()}


def quantiles(samples):
    ordered = sorted(samples)
    return {"p50": statistics.median(ordered), "p99": ordered[len(ordered) * 99 // 100]}


def timed(work):
    start = time.perf_counter()
    future = work()
    value = future.result(60)
    return value, (time.perf_counter() - start) * 1e3, future


class Run:
    def __init__(self, service, executor, count):
        self.service, self.executor, self.count = service, executor, count
        self.wrong = 0
        self.figures = {"sessions": count}

    def no_ops(self):
        taken = [timed(lambda: self.executor.submit(no_op))[1] for _ in range(NO_OPS)]
        self.figures["no-op, ms"] = quantiles(taken[20:])

    def make(self):
        def begin(number):
            session = self.executor.session(ttl=3600)
            session.run(f"import math; x = [{number}]", 120)
            return session

        with ThreadPoolExecutor(8) as threads:
            self.sessions = list(threads.map(begin, range(self.count)))
        self.figures["stored bytes of a session"] = statistics.median(self.sessions[n].record()["stored_bytes"] for n in range(0, self.count, 10))

    def kill_workers(self):
        killed = processes(self.service.pid)["worker"]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        # Each sandbox of the new ones has begun.
        belljar_testkit.eventually(lambda: len(set(processes(self.service.pid).get("worker", [])) - set(killed)) >= WORKERS)
        self.executor.submit(no_op).result(60)

    def steps(self, number_of_step, at_once):
        """A step of each session, which finds the one before: the times until it goes on and in all, and the workers."""

        def step(number):
            session = self.sessions[number]
            value, took, future = timed(lambda: session.submit_source(f"x.append({number_of_step}); x"))
            record = future.record()
            return value == [number, *range(1, number_of_step + 1)], record.durations_ms.instance, took, record.worker

        with ThreadPoolExecutor(at_once) as threads:
            are_right, begun, taken, workers = zip(*threads.map(step, range(self.count)))
        self.wrong += are_right.count(False)
        return begun, taken, workers

    def go_on(self):
        begun, taken, before = self.steps(1, 1)
        self.figures["on new workers, one at a time"] = {"until a step goes on, ms": quantiles(begun), "all of it, ms": quantiles(taken)}
        begun, taken, after = self.steps(2, WORKERS)
        moved = [place for place in range(self.count) if before[place] != after[place]]
        figures = {"that go on elsewhere": len(moved)}
        if moved:
            figures["until a step goes on, ms"] = quantiles(begun[place] for place in moved)
            figures["all of it, ms"] = quantiles(taken[place] for place in moved)
        self.figures["then two at a time"] = figures


def measure(arguments):
    options = ["-m", "push", "-w", "1", "--workers", str(WORKERS)]
    with belljar_testkit.Service(arguments.belljar, *options) as service, belljar.Executor(service.url, runtime="sandbox") as executor:
        run = Run(service, executor, arguments.sessions)
        run.no_ops()
        before = memory(service.pid)
        run.make()
        time.sleep(3)
        after = memory(service.pid)
        run.figures["MiB before and with them idle"] = {part: [round(before[part], 1), round(after[part], 1)] for part in PARTS if part in after}
        run.kill_workers()
        run.go_on()
        run.figures["wrong"] = run.wrong
        return run.figures


def show(figures, indent=""):
    for name, figure in figures.items():
        if isinstance(figure, dict):
            print(f"{indent}{name}")
            show(figure, indent + "    ")
        else:
            print(f"{indent}{name:{44 - len(indent)}} {round(figure, 3) if isinstance(figure, float) else figure}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments)
    print(json.dumps(figures)) if arguments.json else show(figures)
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
