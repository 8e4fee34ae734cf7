"""Sections of the report: the cost of the sandbox, scaling, stress."""

import math

from plots import Figure, bars, lines, stacks
from run import RUNTIMES, View, count, figure, geometric_mean, mean_ratio, median, ratio, table, values


def overhead(run):
    view = View(run, "overhead")
    if not view.all("no-op latency"):
        return None
    phases = view.values("phase", "phase")
    rows = [
        [
            runtime,
            *(view.cell("no-op latency", q, runtime=runtime) for q in (0.5, 0.99)),
            *(view.cell("phase", runtime=runtime, phase=phase) for phase in phases),
        ]
        for runtime in RUNTIMES
    ]
    suite = suite_ratios(view)
    rounds = max((len(series.samples) for series in view.all("call")), default=0)
    shown = [[name, *map(figure, times), f"{at[0]:.2f}", f"{at[1]:.2f} - {at[2]:.2f}"] for name, times, at in suite]
    text = f"""\
A single no-op, in turns; then the medians of its phases in ms, from the tasks' records: `queue` until the attempt \
starts, `instance` a fresh interpreter (with a standby: the rest of its start), `decode`, `call` and `encode` in \
Python, `slot` everything in the worker.

{table(["runtime", "p50 (ms)", "p99 (ms)", *phases], rows)}
Pure Python work, {rounds} calls of each function in each runtime, in turns; the time within the call, from the task's \
record.

{table(["function", "native (ms)", "sandbox (ms)", "ratio", "95 %"], shown)}
Starts, and an idle service. Private memory is what a process shares with no other; that of a sandbox process includes \
its standby instance.

{table(["", "median", "lowest - highest"], resources(view))}"""
    names = [name.replace("geometric ", "") for name, *_ in suite]
    panel = bars("", "times native", names, [("sandbox over native", [at for *_, at in suite])], rule=1)
    # The slot's time includes the others.
    parts = [phase for phase in phases if phase != "slot"]
    sets = [(part, [view.median("phase", runtime=runtime, phase=part) for runtime in RUNTIMES]) for part in parts]
    return (
        "Overhead",
        text,
        [
            Figure("suite", "Pure Python in the sandbox, over native", 1, [panel]),
            Figure("phases", "Phases of a single no-op", 1, [stacks("", "ms (medians)", RUNTIMES, sets)]),
        ],
    )


def suite_ratios(view):
    """Each function with its times in both runtimes, and their ratio with its interval; last, the mean."""
    found, pairs = [], []
    for function in view.values("call", "function"):
        native, sandbox = (view.samples("call", function=function, runtime=runtime) for runtime in RUNTIMES)
        if at := ratio(sandbox, native):
            pairs.append((sandbox, native))
            found.append((function, (median(native), median(sandbox)), at))
    if mean := mean_ratio(pairs):
        found.append(("geometric mean", (None, None), mean))
    return found


def resources(view):
    rows = [("from `belljar up` to ready", "cold start", {}, "ms")]
    rows += [(f"first {runtime} call after that", "first call", {"runtime": runtime}, "ms") for runtime in RUNTIMES]
    rows.append(("processor, idle", "idle processor", {}, "%"))
    for metric in ("resident memory", "private memory"):
        rows += [(f"{metric} of a process: {part}", metric, {"part": part}, "MiB") for part in view.values(metric, "part")]
    return [
        [what, f"{view.cell(metric, **at)} {unit}", view.range(metric, **at)]
        for what, metric, at, unit in rows
        if view.samples(metric, **at)
    ]


def sandbox(run):
    view = View(run, "sandbox")
    if not view.all("whole call"):
        return None
    rows = [
        ("no-op until its answer, with a standby instance, p50", "answer", 0.5, "ms"),
        ("the same, p99", "answer", 0.99, "ms"),
        ("and with the next instance prepared, p50", "whole call", 0.5, "ms"),
        ("the same, p99", "whole call", 0.99, "ms"),
        ("processor time of a call", "processor time", 0.5, "ms"),
        ("one process", "one process", 0.5, "calls/s"),
        ("two processes together", "two processes", 0.5, "calls/s"),
        ("page faults of a call", "page faults", 0.5, ""),
        ("memory of a live instance", "instance memory", 0.5, "MiB"),
        ("load of the guest", "load", 0.5, "ms"),
        ("first interpreter after that", "first interpreter", 0.5, "ms"),
    ]
    rows = [[what, f"{view.cell(metric, q)} {unit}".strip()] for what, metric, q, unit in rows]
    suite, ratios = [], []
    for function in view.values("best time", "function"):
        times = [view.median("best time", function=function, runtime=runtime) for runtime in RUNTIMES]
        if all(times):
            ratios.append(times[1] / times[0])
            suite.append([function, *map(figure, times), figure(ratios[-1])])
    suite.append(["geometric mean", "", "", figure(geometric_mean(ratios))])
    text = f"""\
`belljar-sandbox-bench`: the library in its own process, a fresh interpreter for every call, without service, queue or \
pipe.

{table(["", ""], rows)}
The best times of its own suite, in turns with the system's Python:

{table(["function", "native (ms)", "sandbox (ms)", "ratio"], suite)}"""
    return "The sandbox by itself", text, []


def scaling(run):
    view = View(run, "scaling")
    if not view.all("completion"):
        return None
    text = f"""\
Native, with new services for each number of workers: slots of one pool in local mode, processes with one slot each in \
pull and push. Efficiency is that of local mode: in weak scaling the time of one worker over that of many, in strong \
scaling also divided by the number of workers. Work that computes gains nothing from more workers than the machine has \
processors ({run.machine["processors"]}). Long sleeps run in all modes at once, other work in turns. Every task \
succeeded unless the last column says otherwise.

Weak: 5 tasks per worker.

{scaling_table(view, "weak")}
Strong: the same tasks for all workers together.

{scaling_table(view, "strong")}"""
    strong = view.all("completion", kind="strong")
    most = values(strong, "tasks")[-1] if strong else "0"
    weak_ideal = lambda workers, seconds: 5 * seconds
    strong_ideal = lambda workers, seconds: math.ceil(int(most) / workers) * seconds
    weak_panels = [
        completion(view, work, weak_ideal, False, kind="weak", work=work) for work in view.values("completion", "work")
    ]
    strong_panels = [
        completion(view, work, strong_ideal, True, kind="strong", work=work, tasks=most) for work in values(strong, "work")
    ]
    return (
        "Scaling",
        text,
        [
            Figure("scaling-weak", "Weak scaling: completion of 5 tasks per worker", 3, weak_panels),
            Figure("scaling-strong", f"Strong scaling: completion of {most} tasks", 3, strong_panels),
        ],
    )


def scaling_table(view, kind):
    """One row for each work and number of workers."""
    rows = []
    for series in view.all("completion", mode="local", kind=kind):
        at = {name: series.label(name) for name in ("kind", "work", "tasks", "workers")}
        local, pull, push = (view.median("completion", mode=mode, **at) for mode in ("local", "pull", "push"))
        share = efficiency(view, series)
        success = min((min(one.samples) for one in view.all("success", **at)), default=None)
        rows.append(
            [
                at["work"],
                at["workers"],
                at["tasks"],
                figure(local),
                figure(pull and pull / local),
                figure(push and push / local),
                figure(int(at["tasks"]) / local),
                view.cell("latency", mode="local", **at),
                "-" if share is None else f"{100 * share:.0f} %",
                "-" if success is None else f"{figure(100 * success)} %",
            ]
        )
    head = ["work", "workers", "tasks", "local (s)", "pull over local", "push over local", "tasks/s", "p50 (ms)"]
    return table([*head, "efficiency", "success"], rows)


def efficiency(view, series):
    """The share of the ideal: in weak scaling the time of one worker, in strong scaling the N-th part of it."""
    is_weak = series.label("kind") == "weak"
    same = {name: series.label(name) for name in ("mode", "kind", "work")}
    same |= {} if is_weak else {"tasks": series.label("tasks")}
    single = view.median("completion", workers="1", **same)
    if single is None:
        return None
    gain = single / median(series.samples)
    return gain if is_weak else gain / int(series.label("workers"))


def completion(view, title, ideal, log, **at):
    """Completion over workers: a line for each mode, and the ideal one of work that sleeps."""
    rows = [(mode, view.curve("completion", "workers", mode=mode, **at)) for mode in view.values("completion", "mode")]
    if title.startswith("sleep "):
        seconds = float(title.split()[1])
        rows.append(("ideal", [(workers, ideal(workers, seconds)) for workers, _ in rows[0][1]]))
    return lines(title, "workers", "completion (s)", rows, y_log=log)


QUANTILES = {"0.5": "p50", "0.95": "p95", "0.99": "p99", "0.999": "p99.9"}


def stress(run):
    view = View(run, "stress")
    if not view.all("achieved"):
        return None
    rising = [
        [count(offered), view.cell("achieved", offered=offered)]
        + [view.cell("open latency", offered=offered, quantile=quantile) for quantile in QUANTILES]
        for offered in view.values("achieved", "offered")
    ]
    single = [
        [f"{before} {count(value)} {after}".strip(), f"{view.cell(metric, q, **{label: value})} {unit}"]
        for metric, label, q, unit, before, after in [
            ("drain", "tasks", 0.5, "tasks/s", "queue of", "filled and drained"),
            ("polls latency", "polls", 0.99, "ms", "", "long polls at once, each answered, p99"),
            ("mebibytes", "tasks", 0.5, "s", "1 MiB echoed", "times over four connections"),
        ]
        for value in view.values(metric, label)
    ]
    echoes = [
        [count(size), *(view.cell("echo latency", q, bytes=size, runtime=runtime) for runtime in RUNTIMES for q in (0.5, 1))]
        for size in view.values("echo latency", "bytes")
    ]
    row = lambda label, value, metrics: [count(value), *(view.cell(metric, **{label: value}) for metric in metrics)]
    metrics = ("waiting rate", "waiting cost", "waiting submission", "waiting submission cost")
    waiting = [row("waiting", value, metrics) for value in view.values("waiting rate", "waiting")]
    metrics = ("registered rate", "registered cost")
    registered = [row("functions", value, metrics) for value in view.values("registered rate", "functions")]
    text = f"""\
Single no-ops at a rising rate, whether answers come or not (open loop), until the service is saturated. A latency \
starts when its call is due; the client's clock ticks once a millisecond.

{table(["offered (tasks/s)", "achieved", *(f"{name} (ms)" for name in QUANTILES.values())], rising)}
{table(["", ""], single)}
Blocks of bytes there and back, one at a time:

{table(["bytes", "native p50 (ms)", "slowest", "sandbox p50 (ms)", "slowest"], echoes)}
The same burst in front of a longer and longer queue:

{table(["waiting tasks", "tasks/s", "us a task", "submitted/s", "us a submission"], waiting)}
The same burst, spread over up to 100 functions, while more and more are registered, each with its own code:

{table(["functions", "tasks/s", "us a task"], registered)}"""
    return "Stress", text, stress_figures(view)


def stress_figures(view):
    offered, achieved = "offered (tasks/s)", view.curve("achieved", "offered")
    latencies = [(name, view.curve("open latency", "offered", quantile=q)) for q, name in QUANTILES.items()]
    ideal = [(rate, rate) for rate, _ in achieved]
    saturation = [
        lines("latency", offered, "ms", latencies, x_log=False, y_log=True),
        lines("rate", offered, "tasks/s", [("achieved", achieved), ("ideal", ideal)], x_log=False),
    ]
    echoes = [(runtime, view.curve("echo latency", "bytes", runtime=runtime)) for runtime in RUNTIMES]
    flat = [
        lines(title, over, "us a task", [("processor time of a task", view.curve(metric, over))])
        for title, metric, over in [
            ("waiting tasks", "waiting cost", "waiting"),
            ("registered functions", "registered cost", "functions"),
        ]
    ]
    return [
        Figure("saturation", "Single no-ops at a rising rate", 2, saturation),
        Figure("payloads", "Bytes there and back, one call at a time", 1, [lines("", "bytes", "p50 (ms)", echoes, y_log=True)]),
        Figure("flat", "Processor time of a task, however many there are", 2, flat),
    ]
