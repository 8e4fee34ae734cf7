"""The Python client beside `concurrent.futures.ProcessPoolExecutor`: one Python process, two workers, one run.

    make bench-sdk

The same program for both: `executor.submit` and `future.result`. Measured are calls one at a time, bursts of
5,000 no-ops, 1 MiB of random bytes there and back, and the client's own processor time, which no faster service could take
away. A bare socket
shows what the service alone takes. Celery joins in, over a Redis and with two processes of its own, where
`--peers` names a virtual environment that has it.
"""

import asyncio
import base64
import json
import os
import pickle
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import belljar
from python_client import Client, arguments, service, timed

ROOT = Path(__file__).resolve().parents[1]
ROWS = {
    "single_us": "one at a time, p50 (us)",
    "single_cpu_us": "  the client's processor time (us)",
    "rate": "burst, tasks/s (median)",
    "cpu_us": "  the client's processor time per task (us)",
    "large_us": "1 MiB there and back, one at a time, p50 (us)",
    "large_cpu_us": "  the client's processor time (us)",
}
TURNS = 5
LARGE = os.urandom(1 << 20)


def noop(x):
    return x


class Column:
    """The samples of one system."""

    def __init__(self, **samples):
        self.samples = {row: samples.get(row, []) for row in ROWS}

    def add(self, row, samples):
        self.samples[row] += samples

    def median(self, row):
        return round(statistics.median(self.samples[row])) if self.samples[row] else ""


class BareSocket:
    """As little as a client can do: no threads, no retries, answers in one piece."""

    def __init__(self, url, runtime):
        self.host = url.removeprefix("http://")
        self.function_id = Client(url).register(noop, runtime=runtime)
        host, port = self.host.split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, n):
        payload = base64.b64encode(pickle.dumps(((n,), {}))).decode()
        body = json.dumps({"function_id": self.function_id, "payload": payload})
        head = f"POST /execute_function?wait=5 HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        self.socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        reply = json.loads(self.socket.recv(65536).partition(b"\r\n\r\n")[2])
        return pickle.loads(base64.b64decode(reply["result"]))


def one_at_a_time(call, count, column):
    cpu = time.process_time()
    samples = timed(call, count)
    column.add("single_us", [seconds * 1e6 for seconds in samples])
    column.add("single_cpu_us", [(time.process_time() - cpu) / count * 1e6])


def large(executor, count, column):
    cpu = time.process_time()
    for _ in range(count):
        start = time.perf_counter()
        assert executor.submit(noop, LARGE).result() == LARGE
        column.add("large_us", [(time.perf_counter() - start) * 1e6])
    column.add("large_cpu_us", [(time.process_time() - cpu) / count * 1e6])


def burst(executor, count, column):
    cpu, start = time.process_time(), time.perf_counter()
    futures = [executor.submit(noop, n) for n in range(count)]
    assert [future.result() for future in futures] == list(range(count))
    add_burst(column, count, cpu, start)


def add_burst(column, count, cpu, start):
    column.add("rate", [count / (time.perf_counter() - start)])
    column.add("cpu_us", [(time.process_time() - cpu) / count * 1e6])


def beside_the_pool(url, options):
    ours, theirs, floor = Column(), Column(), Column()
    bare = BareSocket(url, options.runtime)
    with belljar.Executor(url, runtime=options.runtime) as executor, ProcessPoolExecutor(2) as pool:
        calls = [
            (lambda n: pool.submit(noop, n).result(), theirs),
            (bare.call, floor),
            (lambda n: executor.submit(noop, n).result(), ours),
        ]
        for call, _ in calls:
            timed(call, 200)
        for _ in range(TURNS):  # In turn, so that a change of the machine's speed meets all.
            for call, column in calls:
                one_at_a_time(call, options.singles // TURNS, column)
            burst(pool, options.batch, theirs)
            burst(executor, options.batch, ours)
            large(pool, options.large // TURNS, theirs)
            large(executor, options.large // TURNS, ours)
    return ours, theirs, floor


async def with_await(url, options):
    column = Column()
    async with belljar.AsyncExecutor(url, runtime=options.runtime) as executor:
        await executor.submit(noop, 0)
        for _ in range(TURNS):
            count = options.singles // TURNS
            cpu = time.process_time()
            for n in range(count):
                start = time.perf_counter()
                assert await executor.submit(noop, n) == n
                column.add("single_us", [(time.perf_counter() - start) * 1e6])
            column.add("single_cpu_us", [(time.process_time() - cpu) / count * 1e6])
            cpu, start = time.process_time(), time.perf_counter()
            results = await asyncio.gather(*(executor.submit(noop, n) for n in range(options.batch)))
            assert results == list(range(options.batch))
            add_burst(column, options.batch, cpu, start)
    return column


def celery(options):
    """Celery as the benchmark of other systems drives it."""
    with tempfile.TemporaryDirectory() as folder:
        script = shutil.copy(ROOT / "bench/peers/peers.py", Path(folder) / "belljar_peers.py")
        sizes = ["--workers", "2", "--singles", str(options.singles), "--batch", str(options.batch)]
        command = [options.peers / "bin/python", script, "celery", *sizes]
        ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"Celery could not be measured: {ended.stderr}")
    figures = json.loads(ended.stdout)
    singles = [ms * 1e3 for ms in figures["single_ms"]]
    cpu = figures["client_single_us"]
    return Column(single_us=singles, single_cpu_us=cpu, rate=figures["batch_rate"], cpu_us=figures["client_cost_us"])


def has_celery(peers):
    return any(peers.glob("lib/python*/site-packages/celery"))


def show(columns):
    print(f"{'':45}" + "".join(f"{name:>13}" for name in columns))
    for row, title in ROWS.items():
        print(f"{title:45}" + "".join(f"{column.median(row):>13}" for column in columns.values()))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--large", type=int, default=200)
    parser.add_argument("--peers", type=Path, default=ROOT / ".belljar/peers", help="as `make bench-peers` makes it")
    options = parser.parse_args()
    with service(options.belljar, options.mode) as (_, url):
        ours, pool, bare = beside_the_pool(url, options)
        awaited = asyncio.run(with_await(url, options))
    columns = {"belljar": ours, "with await": awaited, "bare socket": bare, "the pool": pool}
    if has_celery(options.peers):
        columns["Celery"] = celery(options)
    show(columns)


if __name__ == "__main__":
    sys.exit(main())
