"""Sections of the report: latency, throughput, other systems."""

from plots import Figure, bars, lines, stacks
from run import RUNTIMES, View, figure, median, plain, quantile, table, values

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# Points of the curve of a distribution.
POINTS = 200


def latency(run):
    view = View(run, "latency")
    if not (all_series := view.all("latency")):
        return None
    rows = []
    for at in view.situations("latency", "runtime", "mode", "study"):
        samples = view.samples("latency", **at)
        _, low, high = view.interval("latency", **at)
        row = [at["runtime"], at["mode"], len(samples), *(figure(quantile(samples, q)) for q in QUANTILES.values())]
        rows.append([*row, f"{figure(low)} - {figure(high)}", view.cell("latency in two requests", **at)])
    head = ["runtime", "mode", "samples", *(f"{name} (ms)" for name in QUANTILES), "95 % of p50", "p50 in two requests"]
    text = f"""\
A no-op is submitted, its result awaited, and only then the next one submitted: by one request that is answered with \
the result (`POST /execute_function?wait`), and, in turns, by the classic two.

{table(head, rows)}"""
    largest, bar_panels, curve_panels = values(all_series, "study")[-1], [], []
    for runtime in RUNTIMES:
        study = view.all("latency", runtime=runtime, study=largest)
        sets = [(name, [plain(quantile(one.samples, q)) for one in study]) for name, q in QUANTILES.items()]
        bar_panels.append(bars(runtime, "ms", values(study, "mode"), sets))
        curves = [(one.label("mode"), distribution(one.samples)) for one in study]
        curve_panels.append(lines(runtime, "ms", "share of the tasks answered", curves))
    samples = max(len(one.samples) for one in all_series)
    return (
        "Latency",
        text,
        [
            Figure("latency", f"One no-op at a time, {samples} samples", 2, bar_panels),
            Figure("latency-distribution", "One no-op at a time: share of the tasks answered within a time", 2, curve_panels),
        ],
    )


def distribution(samples):
    return [(quantile(samples, point / POINTS), point / POINTS) for point in range(POINTS + 1)]


def single_call(run):
    metric, view = "processor time of a single call", View(run, "latency")
    if not view.all(metric):
        return None
    parts = view.values(metric, "part")
    times = {part: [view.median(metric, runtime=runtime, part=part) for runtime in RUNTIMES] for part in parts}
    rows = [[part, *map(figure, row)] for part, row in times.items()]
    rows.append(["all", *(figure(sum(time or 0 for time in column)) for column in zip(*times.values()))])
    text = f"""\
In local mode, one no-op at a time. A single task is handed over eight times: client, gateway, Redis, dispatcher, \
interpreter, and back. Each process sleeps until its turn and then runs with cold caches; therefore a task costs \
several times its cost in a burst. A message of 100 bytes takes {view.cell("hand-overs")} ms (p50) through as many \
threads that do nothing with it.

{table(["processor time of a single call (us)", *RUNTIMES], rows)}"""
    return "A single call", text, []


def throughput(run):
    view, text, figures = View(run, "throughput"), "", []
    if view.all("burst"):
        text += bursts(view) + clients(view)
        sets = [
            (mode, [view.interval("burst", mode=mode, runtime=runtime) for runtime in RUNTIMES])
            for mode in view.values("burst", "mode")
        ]
        figures.append(Figure("burst", "Bursts of no-ops, Rust client", 1, [bars("", "tasks/s", RUNTIMES, sets)]))
        panels = [
            lines(title, "clients", label, [(name, view.curve(metric, "connections", runtime=name)) for name in RUNTIMES])
            for title, label, metric in [("rate", "tasks/s", "clients"), ("latency", "p50 (ms)", "clients latency")]
        ]
        figures.append(Figure("clients", "Concurrent clients, one call each", 2, panels))
    if run.all("client", "batch"):
        text += python_client(View(run, "client"))
    if situations := costs(run):
        parts = list(dict.fromkeys(part for costs in situations.values() for part in costs))
        rows = [[", ".join(name), *(figure(costs.get(part)) for part in parts)] for name, costs in situations.items()]
        text += f"\nThe processor time of a task in a burst:\n\n{table(['us a task', *parts], rows)}"
        panels = [cost_panel(situations, parts, runtime) for runtime in RUNTIMES]
        figures.append(Figure("cost", "Processor time of a no-op in a burst, by process", 2, panels))
    return ("Throughput", text, figures) if text else None


def bursts(view):
    rows = []
    for at in view.situations("burst", "runtime", "mode"):
        latencies = [view.cell("burst latency", q, **at) for q in (0.5, 0.99)]
        rows.append([*at.values(), view.cell("burst", **at), view.range("burst", **at), *latencies, view.cell("cost", **at)])
    head = ["runtime", "mode", "tasks/s", "slowest - fastest", "p50 (ms)", "p99 (ms)", "us a task"]
    return f"""\
No-ops, {view.values("burst", "tasks")[0]} in one batch, Rust client; latencies from the submission of the batch, \
processor time of client and all processes.

{table(head, rows)}"""


def clients(view):
    rows = []
    for at in view.situations("clients", "runtime", "connections"):
        latencies = [view.cell("clients latency", q, **at) for q in (0.5, 0.99)]
        rows.append([*at.values(), view.cell("clients", **at), *latencies])
    return f"""
Concurrent clients, each with its own connection and one call under way:

{table(["runtime", "clients", "tasks/s", "p50 (ms)", "p99 (ms)"], rows)}"""


def python_client(view):
    rows = []
    for runtime in RUNTIMES:
        single, pool = (view.median(metric, runtime=runtime) for metric in ("single", "pool single"))
        cells = [view.cell(metric, runtime=runtime) for metric in ("batch", "pool", "cost")]
        rows.append([runtime, figure(single), figure(pool), figure(single / pool if single and pool else None), *cells])
    head = ["runtime", "single p50 (ms)", "pool's (ms)", "ratio", "batch (tasks/s)", "pool's (tasks/s)", "us a task"]
    return f"""
A Python client over one connection, beside `concurrent.futures.ProcessPoolExecutor` in the same minutes (`make \
bench-client`):

{table(head, rows)}"""


def costs(run):
    """The processor time of a task by process, for each situation: client, mode, runtime."""
    found = {}
    for experiment, client in (("throughput", "Rust client"), ("client", "Python client")):
        for series in run.all(experiment, "cost of part"):
            situation = tuple(filter(None, (client, series.label("mode"), series.label("runtime"))))
            found.setdefault(situation, {})[series.label("part")] = median(series.samples)
    return found


def cost_panel(situations, parts, runtime):
    here = {name: costs for name, costs in situations.items() if name[-1] == runtime}
    groups = [name[1] if len(name) == 3 else name[0].replace(" client", "") for name in here]
    return stacks(runtime, "us a task", groups, [(part, [costs.get(part) for costs in here.values()]) for part in parts])


def peers(run):
    view = View(run, "peers")
    if not view.all("batch"):
        return None
    systems = {f"belljar {runtime}": (View(run, "client"), {"runtime": runtime}) for runtime in RUNTIMES}
    systems |= {name: (view, {"system": name}) for name in view.values("batch", "system")}
    metrics = ("single", "batch", "cost")
    rows = [[name, *(view.cell(metric, **at) for metric in metrics)] for name, (view, at) in systems.items()]
    text = f"""\
Other systems with the same no-ops in the same run, with as many workers and with Python clients, each set up as its \
documentation says for a single machine (`make bench-peers`). Every call of belljar's sandbox and of eryx gets a fresh \
interpreter; the others run natively.

{table(["system", "one at a time, p50 (ms)", "all at once (tasks/s)", "us a task"], rows)}"""
    panels = [
        bars(title, label, list(systems), [(title, [plain(view.median(metric, **at)) for view, at in systems.values()])], log=True)
        for title, label, metric in [("one at a time, p50", "ms", "single"), ("all at once", "tasks/s", "batch")]
    ]
    return "Other systems", text, [Figure("peers", "No-ops by other systems", 1, panels)]
