"""Pull and push beside local: three services in one run, asked in turns by one Python client.

    make bench-modes

Measures one no-op at a time, a batch of no-ops, and how near calls that sleep come to the ideal on ever
more workers; with --heartbeats the same of push and pull alone, for each of these intervals. Figures are
ratios within the run: the machine's speed meets all modes alike.
"""

import argparse
import contextlib
import statistics
import sys
import time

from python_client import Client, service, timed

MODES = ("local", "push", "pull")
NAP_SECONDS = 0.1
NAPS_PER_WORKER = 5


def noop(x):
    return x


def p50_us(samples):
    return statistics.median(samples) * 1e6


def nap(seconds):
    import time

    time.sleep(seconds)


@contextlib.contextmanager
def client_of(belljar, mode, slots, workers=1, heartbeat=1):
    """A client of a service of its own."""
    with service(belljar, mode, slots, workers, {"BELLJAR_HEARTBEAT": str(heartbeat)}) as (_, url):
        yield Client(url)


def no_ops(options, subjects):
    """One at a time and in batches, on two slots: `subjects` are pairs of a mode and a heartbeat interval, and
    the others are compared with the first."""
    with contextlib.ExitStack() as stack:
        clients = {
            (mode, beat): stack.enter_context(client_of(options.belljar, mode, 2, heartbeat=beat))
            for mode, beat in subjects
        }
        functions = {subject: client.register(noop) for subject, client in clients.items()}
        singles, rates = {subject: [] for subject in subjects}, {subject: [] for subject in subjects}
        for turn in range(options.turns):
            for subject, client in clients.items():
                samples = timed(lambda n: client.call(functions[subject], n), options.singles)
                start = time.perf_counter()
                ids = client.batch(functions[subject], range(options.batch))
                assert client.gather(ids) == list(range(options.batch))
                rate = options.batch / (time.perf_counter() - start)
                if turn > 0:  # The first warms up.
                    singles[subject] += samples
                    rates[subject].append(rate)
    first_us, first_rate = p50_us(singles[subjects[0]]), statistics.median(rates[subjects[0]])
    for subject in subjects:
        single_us, rate = p50_us(singles[subject]), statistics.median(rates[subject])
        mode, beat = subject
        print(f"{mode:6} heartbeat {beat:4} s   one at a time, p50: {single_us:6.0f} us", end="")
        print(f" ({single_us - first_us:+5.0f} us)   batch: {rate:6.0f} tasks/s", end="")
        print(f" ({rate / first_rate:.2f} of {subjects[0][0]})", flush=True)


def naps(options, mode, workers, heartbeat=1):
    """How much longer than ideal `workers` workers of one slot take for their naps."""
    with client_of(options.belljar, mode, 1, workers, heartbeat) as client:
        function = client.register(nap)
        # Until every worker is there, and has an interpreter.
        while len(client.request("GET", "/v1/workers?limit=100")["items"]) < workers:
            time.sleep(0.1)
        client.gather(client.batch(function, [NAP_SECONDS] * workers * 2))
        took = []
        for _ in range(options.turns):
            start = time.perf_counter()
            client.gather(client.batch(function, [NAP_SECONDS] * workers * NAPS_PER_WORKER))
            took.append(time.perf_counter() - start)
    ideal = NAP_SECONDS * NAPS_PER_WORKER
    print(f"{mode:6} heartbeat {heartbeat:4} s   {workers:2} workers: {statistics.median(took) / ideal:.3f} of ideal", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--heartbeats", type=float, nargs="*", default=[], metavar="SECONDS")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    if options.heartbeats:
        for mode in MODES[1:]:
            no_ops(options, [(mode, beat) for beat in options.heartbeats])
            for beat in options.heartbeats:
                naps(options, mode, options.workers[-1], beat)
        return
    no_ops(options, [(mode, 1) for mode in MODES])
    for mode in MODES[1:]:
        for workers in options.workers:
            naps(options, mode, workers)


if __name__ == "__main__":
    sys.exit(main())
