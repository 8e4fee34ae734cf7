"""belljar beside `concurrent.futures.ProcessPoolExecutor`, one Python client, two workers, one run.

    make bench-client

Measures one no-op at a time (submitted with `?wait`, and by two requests), a batch of 5,000 no-ops, and
the processor time of everybody involved. The client speaks HTTP/1.1 over one connection by the
standard library, so that the figures are belljar's and not an HTTP library's.
"""

import argparse
import codecs
import contextlib
import http.client
import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dill

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testkit/python"))

import belljar_testkit

TICK = os.sysconf("SC_CLK_TCK")
BATCHES = 5


def noop(x):
    return x


def serialize(value):
    return codecs.encode(dill.dumps(value), "base64").decode()


def deserialize(text):
    return dill.loads(codecs.decode(text.encode(), "base64"))


class Client:
    """One keep-alive connection."""

    def __init__(self, base):
        self.connection = http.client.HTTPConnection(base.removeprefix("http://"))
        self.connection.connect()

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        self.connection.request(method, path, data, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        reply = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {reply}")
        return reply

    def register(self, function, **more):
        python = "{}.{}".format(*sys.version_info)
        body = {"name": function.__name__, "payload": serialize(function), "python": python, **more}
        return self.request("POST", "/register_function", body)["function_id"]

    def call(self, function_id, *args):
        body = {"function_id": function_id, "payload": serialize((args, {}))}
        return self.value(self.request("POST", "/execute_function?wait=30", body))

    def call_by_two_requests(self, function_id, *args):
        body = {"function_id": function_id, "payload": serialize((args, {}))}
        task_id = self.request("POST", "/execute_function", body)["task_id"]
        return self.value(self.request("GET", f"/result/{task_id}?wait=30"))

    def value(self, reply):
        if reply["status"] != "COMPLETED":
            raise RuntimeError(f"{reply['status']}: {deserialize(reply['result'])!r}")
        return deserialize(reply["result"])

    def batch(self, function_id, arguments):
        payloads = [serialize(((argument,), {})) for argument in arguments]
        body = {"function_id": function_id, "payloads": payloads}
        return self.request("POST", "/v1/tasks", body)["task_ids"]

    def gather(self, task_ids):
        results, open_ids = {}, set(task_ids)
        while open_ids:
            reply = self.request("POST", "/v1/results", {"task_ids": list(open_ids), "wait": 30})
            for entry in reply["results"]:
                results[entry["task_id"]] = deserialize(entry["result"])
                open_ids.discard(entry["task_id"])
        return [results[task_id] for task_id in task_ids]


def cpu_seconds(pids):
    """The processor time of each of these processes that is still there."""
    used = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        used[pid] = (int(fields[11]) + int(fields[12])) / TICK
    return used


def role(pid):
    """The part that a process plays, by its command line."""
    if pid == os.getpid():
        return "client"
    try:
        with open(f"/proc/{pid}/cmdline") as cmdline:
            # Redis puts its address behind its name, with a space.
            words = cmdline.read().replace("\0", " ").split()
    except OSError:
        words = []
    if not words:
        return "other"  # It has ended meanwhile.
    program = os.path.basename(words[0])
    if program == "belljar":
        return words[1]
    names = {"belljar-python": "native Python", "belljar-sandbox": "sandbox", "redis-server": "Redis"}
    return names.get(program, "other")


def descendants(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def timed(calls, count):
    samples = []
    for n in range(count):
        start = time.perf_counter()
        assert calls(n) == n
        samples.append(time.perf_counter() - start)
    return samples


def measure(client, pids, options):
    function = client.register(noop, runtime=options.runtime)
    timed(lambda n: client.call(function, n), 200)
    with ProcessPoolExecutor(2) as pool:
        timed(lambda n: pool.submit(noop, n).result(), 200)
        ours, by_two, theirs = [], [], []
        for _ in range(5):  # In turn, so that a change of the machine's speed meets both.
            theirs += timed(lambda n: pool.submit(noop, n).result(), options.singles // 5)
            ours += timed(lambda n: client.call(function, n), options.singles // 5)
            by_two += timed(lambda n: client.call_by_two_requests(function, n), options.singles // 5)
        pool_rates = []
        for _ in range(BATCHES):
            start = time.perf_counter()
            assert list(pool.map(noop, range(options.batch))) == list(range(options.batch))
            pool_rates.append(options.batch / (time.perf_counter() - start))
    watched = [*pids, os.getpid()]
    roles = {pid: role(pid) for pid in watched}
    rates, cpu, parts = [], [], {name: [] for name in sorted(set(roles.values()))}
    for _ in range(BATCHES):
        before, start = cpu_seconds(watched), time.perf_counter()
        ids = client.batch(function, range(options.batch))
        assert client.gather(ids) == list(range(options.batch))
        rates.append(options.batch / (time.perf_counter() - start))
        after = cpu_seconds(watched)
        spent = {pid: (after[pid] - before[pid]) / options.batch * 1e6 for pid in after}
        cpu.append(sum(spent.values()))
        for name, samples in parts.items():
            samples.append(sum(us for pid, us in spent.items() if roles[pid] == name))
    return {
        "single_ms": [seconds * 1e3 for seconds in ours],
        "two_requests_ms": [seconds * 1e3 for seconds in by_two],
        "pool_single_ms": [seconds * 1e3 for seconds in theirs],
        "batch_rate": rates,
        "pool_rate": pool_rates,
        "cost_us": cpu,
        "parts_us": parts,
    }


def show(figures):
    names = "single_ms", "pool_single_ms", "two_requests_ms"
    ours, pool, by_two = (statistics.median(figures[name]) for name in names)
    lines = {
        "one at a time, p50 (us)": round(ours * 1e3),
        "the pool, p50 (us)": round(pool * 1e3),
        "ratio": round(ours / pool, 2),
        "one at a time by two requests, submit and result, p50 (us)": round(by_two * 1e3),
        "its ratio": round(by_two / pool, 2),
        f"batch, tasks/s (median of {BATCHES})": round(statistics.median(figures["batch_rate"])),
        "the pool's map, tasks/s": round(statistics.median(figures["pool_rate"])),
        "processor time per task, client and all processes (us)": round(statistics.median(figures["cost_us"])),
    }
    for name, figure in lines.items():
        print(f"{name:60} {figure}")
    for part, samples in figures["parts_us"].items():
        print(f"{'    of which ' + part:60} {round(statistics.median(samples))}")


def drain(client, count, runtime):
    """Queues `count` calls, faster than they run, and collects every result."""
    function = client.register(noop, runtime=runtime)
    parts = [range(n, min(n + 10_000, count)) for n in range(0, count, 10_000)]
    start = time.perf_counter()
    queued = [client.batch(function, part) for part in parts]
    submitted = time.perf_counter() - start
    for part, ids in zip(parts, queued):
        assert client.gather(ids) == list(part)
    audit = client.request("GET", "/v1/audit")
    assert audit["consistent"] and audit["queued"] == audit["running"] == 0, audit
    return {
        f"{count:,} calls queued in (s)": round(submitted, 2),
        "and drained, all results right, in (s)": round(time.perf_counter() - start, 2),
    }


@contextlib.contextmanager
def service(belljar, mode, slots=2, workers=1, environment=None):
    """`belljar up` over its own store, with these variables: its process id and address."""
    options = ["-m", mode, "-w", str(slots), "--workers", str(workers)]
    with belljar_testkit.Service(belljar, *options, env={**os.environ, **(environment or {})}) as up:
        yield up.pid, up.url


def arguments(description):
    """What is measured, and how much of it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--runtime", default="native")
    parser.add_argument("--mode", default="local")
    parser.add_argument("--singles", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=5000)
    return parser


def main():
    parser = arguments(__doc__)
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    parser.add_argument("--drain", type=int, metavar="N", help="queue N calls and collect them all, instead")
    options = parser.parse_args()
    with service(options.belljar, options.mode) as (pid, base):
        if options.drain:
            figures = drain(Client(base), options.drain, options.runtime)
        else:
            figures = measure(Client(base), [pid, *descendants(pid)], options)
    if options.json:
        print(json.dumps(figures))
    elif options.drain:
        for name, figure in figures.items():
            print(f"{name:60} {figure}")
    else:
        show(figures)


if __name__ == "__main__":
    sys.exit(main())
