"""belljar beside `concurrent.futures.ProcessPoolExecutor`, one Python client, two workers, one run.

    make bench-client

Measures one no-op at a time (submitted with `?wait`, and by two requests), a batch of 5,000 no-ops, and
the processor time of everybody involved. The client speaks HTTP/1.1 over one connection by the
standard library, so that the figures are belljar's and not an HTTP library's.
"""

import argparse
import codecs
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import dill

TICK = os.sysconf("SC_CLK_TCK")


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
        body = {"name": function.__name__, "payload": serialize(function), **more}
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
    total = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


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


def p50_us(samples):
    return statistics.median(samples) * 1e6


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
        start = time.perf_counter()
        assert list(pool.map(noop, range(options.batch))) == list(range(options.batch))
        pool_rate = options.batch / (time.perf_counter() - start)
    rates, cpu = [], []
    for _ in range(5):
        cpu_before, start = cpu_seconds([*pids, os.getpid()]), time.perf_counter()
        ids = client.batch(function, range(options.batch))
        assert client.gather(ids) == list(range(options.batch))
        rates.append(options.batch / (time.perf_counter() - start))
        cpu.append((cpu_seconds([*pids, os.getpid()]) - cpu_before) / options.batch * 1e6)
    return {
        "one at a time, p50 (us)": round(p50_us(ours)),
        "the pool, p50 (us)": round(p50_us(theirs)),
        "ratio": round(p50_us(ours) / p50_us(theirs), 2),
        "one at a time by two requests, submit and result, p50 (us)": round(p50_us(by_two)),
        "its ratio": round(p50_us(by_two) / p50_us(theirs), 2),
        "batch, tasks/s (median of 5)": round(statistics.median(rates)),
        "the pool's map, tasks/s": round(pool_rate),
        "processor time per task, client and all processes (us)": round(statistics.median(cpu)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--runtime", default="native")
    parser.add_argument("--mode", default="local")
    parser.add_argument("--singles", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        command = [options.belljar, "up", "-m", options.mode, "-w", "2", "--listen", "127.0.0.1:0", "--data", data]
        up = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            ready = up.stdout.readline()
            base = ready.rsplit(" ", 1)[1].strip()
            figures = measure(Client(base), [up.pid, *descendants(up.pid)], options)
        finally:
            up.terminate()
            up.wait()
    for name, figure in figures.items():
        print(f"{name:60} {figure}")


if __name__ == "__main__":
    sys.exit(main())
