"""The Python client beside `concurrent.futures.ProcessPoolExecutor`: one Python process, two workers, one run.

    make bench-sdk

The same program for both: `executor.submit` and `future.result`. Measured are calls one at a time, bursts of
5,000 no-ops, and the client's own processor time, which no faster service could take away.
"""

import asyncio
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import belljar
from python_client import arguments, service, timed


def noop(x):
    return x


def burst(executor, count):
    """Tasks per second, and the processor time of this process for each in microseconds."""
    cpu, start = time.process_time(), time.perf_counter()
    futures = [executor.submit(noop, n) for n in range(count)]
    assert [future.result() for future in futures] == list(range(count))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return count / seconds, cpu / count * 1e6


async def async_bursts(url, options):
    rates = []
    async with belljar.AsyncExecutor(url, runtime=options.runtime) as executor:
        await executor.submit(noop, 0)
        for _ in range(3):
            cpu, start = time.process_time(), time.perf_counter()
            results = await asyncio.gather(*(executor.submit(noop, n) for n in range(options.batch)))
            assert results == list(range(options.batch))
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            rates.append((options.batch / seconds, cpu / options.batch * 1e6))
    return rates


def p50_us(samples):
    return round(statistics.median(samples) * 1e6)


def median(pairs, at):
    return round(statistics.median(pair[at] for pair in pairs))


def measure(url, options):
    with belljar.Executor(url, runtime=options.runtime) as executor, ProcessPoolExecutor(2) as pool:
        timed(lambda n: executor.submit(noop, n).result(), 200)
        timed(lambda n: pool.submit(noop, n).result(), 200)
        ours, theirs, our_bursts, their_bursts, cpu = [], [], [], [], 0.0
        for _ in range(5):  # In turn, so that a change of the machine's speed meets both.
            theirs += timed(lambda n: pool.submit(noop, n).result(), options.singles // 5)
            before = time.process_time()
            ours += timed(lambda n: executor.submit(noop, n).result(), options.singles // 5)
            cpu += time.process_time() - before
            their_bursts.append(burst(pool, options.batch))
            our_bursts.append(burst(executor, options.batch))
    with_await = asyncio.run(async_bursts(url, options))
    return [
        ("one at a time, p50 (us)", p50_us(ours)),
        ("  the client's processor time (us)", round(cpu / len(ours) * 1e6)),
        ("  the pool, p50 (us)", p50_us(theirs)),
        (f"burst of {options.batch}, tasks/s (median of 5)", median(our_bursts, 0)),
        ("  the client's processor time per task (us)", median(our_bursts, 1)),
        ("  the pool, tasks/s", median(their_bursts, 0)),
        ("  the pool's processor time per task, without its workers (us)", median(their_bursts, 1)),
        ("with await, tasks/s (median of 3)", median(with_await, 0)),
        ("  the client's processor time per task (us)", median(with_await, 1)),
    ]


def main():
    options = arguments(__doc__).parse_args()
    with service(options.belljar, options.mode) as (_, url):
        figures = measure(url, options)
    for name, figure in figures:
        print(f"{name:66} {figure}")


if __name__ == "__main__":
    sys.exit(main())
