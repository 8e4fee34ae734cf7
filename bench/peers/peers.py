"""Other systems with the work of belljar's benchmarks: `python peers.py SYSTEM`, figures as JSON.

No-ops, one at a time (submit, wait for the result, only then the next) and all at once, on so many worker
processes; and the processor time of everybody involved, this client included. Brokers are private.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
BATCHES = 3
# Celery and Huey import this file in their workers, which learn from here where the broker is.
BROKER = os.environ.get("BELLJAR_PEERS_BROKER", "redis://127.0.0.1:0/0")


def noop(n):
    return n


def celery_app():
    import celery

    app = celery.Celery("belljar_peers", broker=BROKER, backend=BROKER)
    app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)
    app.task(name="noop")(noop)
    return app


def huey_app():
    import huey

    app = huey.RedisHuey("belljar_peers", url=BROKER)
    # Both sides name the task by its module, which for the client would be `__main__`.
    noop.__module__ = "belljar_peers"
    app.noop = app.task()(noop)
    return app


# What the command lines of the workers name.
if os.environ.get("BELLJAR_PEERS_SYSTEM") == "celery":
    app = celery_app()
if os.environ.get("BELLJAR_PEERS_SYSTEM") == "huey":
    app = huey_app()


@contextlib.contextmanager
def redis():
    """A private server on a free port, as belljar's own: with an append-only file."""
    global BROKER
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        command = ["redis-server", "--port", str(port), "--dir", data, "--appendonly", "yes", "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            BROKER = f"redis://127.0.0.1:{port}/0"
            yield
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def consumer(system, *command):
    """The worker processes of a system with a broker."""
    here = os.path.dirname(os.path.abspath(__file__))
    environment = {**os.environ, "BELLJAR_PEERS_BROKER": BROKER, "BELLJAR_PEERS_SYSTEM": system}
    worker = subprocess.Popen([sys.executable, "-m", *command], cwd=here, env=environment, stdout=2)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


@contextlib.contextmanager
def celery(workers):
    import celery as module

    with redis():
        options = ["worker", "--concurrency", str(workers), "--loglevel", "warning"]
        with consumer("celery", "celery", "-A", "belljar_peers", *options):
            task = celery_app().tasks["noop"]

            def batch(numbers):
                return [result.get(timeout=120) for result in [task.delay(n) for n in numbers]]

            yield module.__version__, lambda n: task.delay(n).get(timeout=120), batch


@contextlib.contextmanager
def huey(workers):
    import huey as module

    with redis():
        options = ["-k", "process", "-w", str(workers), "-q"]
        with consumer("huey", "huey.bin.huey_consumer", "belljar_peers.app", *options):
            task = huey_app().noop

            def batch(numbers):
                return [result.get(blocking=True, timeout=120) for result in [task(n) for n in numbers]]

            yield module.__version__, lambda n: task(n).get(blocking=True, timeout=120), batch


@contextlib.contextmanager
def dask(workers):
    import distributed

    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:

        def single(n):
            return client.submit(noop, n, pure=False).result()

        def batch(numbers):
            return client.gather(client.map(noop, numbers, pure=False))

        yield distributed.__version__, single, batch


@contextlib.contextmanager
def ray(workers):
    import ray as module

    module.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    remote = module.remote(noop)

    def batch(numbers):
        return module.get([remote.remote(n) for n in numbers])

    yield module.__version__, lambda n: module.get(remote.remote(n)), batch
    module.shutdown()


@contextlib.contextmanager
def pool(workers):
    import platform
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as executor:

        def batch(numbers):
            return list(executor.map(noop, numbers))

        yield platform.python_version(), lambda n: executor.submit(noop, n).result(), batch


def fresh(n):
    import eryx

    return int(eryx.Sandbox().execute(f"print({n})").stdout)


@contextlib.contextmanager
def eryx(workers):
    """A new sandbox for every call, in so many processes."""
    from concurrent.futures import ProcessPoolExecutor
    from importlib.metadata import version

    with ProcessPoolExecutor(workers) as executor:

        def batch(numbers):
            return list(executor.map(fresh, numbers))

        yield version("pyeryx"), lambda n: executor.submit(fresh, n).result(), batch


def cpu_seconds():
    """The processor time of this process and of all below it."""
    parents, used = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
            parents[int(entry)] = int(fields[1])
            used[int(entry)] = (int(fields[11]) + int(fields[12])) / TICK
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used[pid] for pid in ours if pid in used)


def measure(system, options):
    with system(options.workers) as (version, single, batch):
        for n in range(20):
            assert single(n) == n
        single_ms, client_start = [], time.process_time()
        for n in range(options.singles):
            start = time.perf_counter()
            assert single(n) == n
            single_ms.append((time.perf_counter() - start) * 1e3)
        client_single_us = [(time.process_time() - client_start) / options.singles * 1e6]
        numbers, rates, costs, client_costs = range(options.batch), [], [], []
        assert batch(range(100)) == list(range(100))
        for _ in range(BATCHES):
            before, client_start, start = cpu_seconds(), time.process_time(), time.perf_counter()
            assert batch(numbers) == list(numbers)
            rates.append(len(numbers) / (time.perf_counter() - start))
            costs.append((cpu_seconds() - before) / len(numbers) * 1e6)
            client_costs.append((time.process_time() - client_start) / len(numbers) * 1e6)
    return {
        "version": version,
        "single_ms": single_ms,
        "client_single_us": client_single_us,
        "batch_rate": rates,
        "cost_us": costs,
        "client_cost_us": client_costs,
    }


SYSTEMS = {function.__name__: function for function in (pool, celery, huey, dask, ray, eryx)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--singles", type=int, default=500)
    parser.add_argument("--batch", type=int, default=5000)
    options = parser.parse_args()
    print(json.dumps(measure(SYSTEMS[options.system], options)))
