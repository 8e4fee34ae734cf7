"""The targets of belljar, and whether a run meets them."""

from dataclasses import dataclass
from typing import Callable, Optional

from run import RUNTIMES, geometric_mean, median

SPEED, SERVICE, SANDBOX, MODES = "Speed", "Service", "Sandbox", "Pull and push"


@dataclass
class Target:
    """A figure with a bound, and a goal that is better still."""

    group: str
    what: str
    bound: str
    number: float
    unit: str
    figure: Callable
    goal: Optional[float] = None

    def measured(self, run):
        try:
            return self.figure(run)
        except TypeError:
            # One of its figures was not measured.
            return None

    def verdict(self, run):
        measured = self.measured(run)
        if measured is None:
            return "not measured"
        holds = lambda number: measured <= number if self.bound == "at most" else measured >= number
        if not holds(self.number):
            return "**missed**"
        return "met" if self.goal is None or holds(self.goal) else "met, short of the goal"


def latency(run, mode, runtime):
    """The p50 of the larger study."""
    studies = run.all("latency", "latency", mode=mode, runtime=runtime)
    return median(max((study.samples for study in studies), key=len, default=[]))


def burst(run, mode="local", runtime="native"):
    return run.median("throughput", "burst", mode=mode, runtime=runtime)


def client(run, metric):
    return run.median("client", metric, runtime="native")


def growth(run, metric):
    """The last figure of a metric over its first."""
    figures = [median(series.samples) for series in run.all("stress", metric)]
    return figures[-1] / figures[0] if figures else None


def ratio_of_runtimes(run, experiment, metric):
    native, sandbox = RUNTIMES
    ratios = []
    for series in run.all(experiment, metric, runtime=sandbox):
        below = run.median(experiment, metric, runtime=native, function=series.label("function"))
        ratios.append(median(series.samples) / below)
    return geometric_mean(ratios)


def sleeps(run):
    weak = run.all("scaling", "completion", kind="weak", work="sleep 0.1 s")
    return max((median(series.samples) / 0.5 for series in weak), default=None)


TARGETS = [
    Target(SPEED, "one no-op at a time over REST, p50", "at most", 0.35, "ms", lambda run: latency(run, "local", "native")),
    Target(SPEED, "burst of no-ops, Rust client", "at least", 10_000, "tasks/s", burst),
    Target(SPEED, "burst of no-ops, Python client", "at least", 8_000, "tasks/s", lambda run: client(run, "batch")),
    Target(SPEED, "processor time per no-op, Python client and all processes", "at most", 150, "us", lambda run: client(run, "cost")),
    Target(SPEED, "burst of no-ops in the sandbox, Rust client", "at least", 3_500, "tasks/s", lambda run: burst(run, runtime="sandbox")),
    Target(SPEED, "1 MiB echoed 200 times", "at most", 1.5, "s", lambda run: run.median("stress", "mebibytes", tasks="200")),
    Target(SPEED, "processor time per task, longest queue over shortest", "at most", 1.2, "x", lambda run: growth(run, "waiting cost")),
    Target(SPEED, "processor time per task, most registered functions over fewest", "at most", 1.2, "x", lambda run: growth(run, "registered cost")),
    Target(SERVICE, "one no-op at a time, Python client, over ProcessPoolExecutor, p50", "at most", 5, "x", lambda run: client(run, "single") / client(run, "pool single")),
    Target(SERVICE, "burst of no-ops, Python client, at least", "at least", 3_000, "tasks/s", lambda run: client(run, "batch")),
    Target(SERVICE, "processor time per no-op, Python client, at most", "at most", 300, "us", lambda run: client(run, "cost")),
    Target(SERVICE, "memory of the gateway", "at most", 50, "MiB", lambda run: run.median("overhead", "resident memory", part="gateway")),
    Target(SERVICE, "processor time of the idle service", "at most", 1, "%", lambda run: run.median("overhead", "idle processor")),
    Target(SANDBOX, "fresh interpreter, no-op, one process, median", "at most", 0.4, "ms", lambda run: run.median("sandbox", "whole call"), 0.25),
    Target(SANDBOX, "fresh interpreters in two processes", "at least", 3_500, "calls/s", lambda run: run.median("sandbox", "two processes"), 5_000),
    Target(SANDBOX, "one no-op at a time over REST, p50 beyond native", "at most", 0.5, "ms", lambda run: latency(run, "local", "sandbox") - latency(run, "local", "native")),
    Target(SANDBOX, "burst over REST, at least", "at least", 2_800, "tasks/s", lambda run: burst(run, runtime="sandbox")),
    Target(SANDBOX, "page faults of a call", "at most", 150, "", lambda run: run.median("sandbox", "page faults")),
    Target(SANDBOX, "pure Python, geometric mean over native, by the crate", "at most", 2, "x", lambda run: ratio_of_runtimes(run, "sandbox", "best time"), 1.5),
    Target(SANDBOX, "pure Python, geometric mean over native, over REST", "at most", 2, "x", lambda run: ratio_of_runtimes(run, "overhead", "call"), 1.5),
    Target(SANDBOX, "memory of a live instance", "at most", 4, "MiB", lambda run: run.median("sandbox", "instance memory")),
    Target(SANDBOX, "load of the guest at start", "at most", 50, "ms", lambda run: run.median("sandbox", "load")),
    Target(MODES, "push, one no-op at a time, p50 beyond local", "at most", 0.15, "ms", lambda run: latency(run, "push", "native") - latency(run, "local", "native")),
    Target(MODES, "pull, one no-op at a time, p50 beyond local", "at most", 0.2, "ms", lambda run: latency(run, "pull", "native") - latency(run, "local", "native")),
    Target(MODES, "push, burst over local", "at least", 0.9, "x", lambda run: burst(run, "push") / burst(run)),
    Target(MODES, "pull, burst over local", "at least", 0.9, "x", lambda run: burst(run, "pull") / burst(run)),
    Target(MODES, "sleep of 0.1 s, 5 for each worker, over the ideal, worst of all", "at most", 1.05, "x", sleeps),
]
