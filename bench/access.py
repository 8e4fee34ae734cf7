"""A service with keys and quotas beside one that is open: the same calls by one Python client, in turns, in one run.

    make bench-access

Five services: open, with keys, with keys and quotas, the same again, and the same with 100,000 keys. The second of the like two shows
what the run cannot tell apart. Measures one no-op at a time and batches of no-ops; exits with 1 where one is beyond the goal.
"""

import argparse
import contextlib
import json
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from python_client import Client, timed

import belljar_testkit

GOAL = 1.05
KEYS = 100_000
# Wide, so that none is used up; each is counted all the same.
TENANTS = """
connections_per_address = 1000
[default.limits]
timeout_s = 600
memory_mb = 4096
payload_kb = 20000
max_result_mb = 32
[default.quotas]
requests_per_s = 1_000_000
long_polls = 1000
open_requests = 1000
waited_tasks = 100_000
event_streams = 10
functions = 1000
stored_mb = 4096
queued_tasks = 1_000_000
running_tasks = 1000
cpu_s_per_hour = 1_000_000
cpu_s_per_day = 1_000_000
memory_mb_s_per_hour = 1_000_000_000
memory_mb_s_per_day = 1_000_000_000
"""


def noop(x):
    return x


class KeyClient(Client):
    """A client that shows a key."""

    def __init__(self, base, key):
        super().__init__(base)
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def request(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body).encode(), self.headers)
        response = self.connection.getresponse()
        reply = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {reply}")
        return reply


def redis(path, *commands):
    """Runs commands on a Redis and returns the answers, each a number or bytes."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        for words in commands:
            parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            peer.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        stream, answers = peer.makefile("rb"), []
        for _ in commands:
            line = stream.readline()
            assert line[:1] in b":$", line
            number = int(line[1:])
            answers.append(stream.read(number + 2)[:-2] if line[:1] == b"$" else number)
        return answers


def fill(data, key_id, count):
    """Stores so many more keys, with the record of one under the hashes of others."""
    path, table = data / "redis.sock", "{belljar}:api_keys"
    script = "for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do if string.sub(name, 1, #ARGV[1]) == ARGV[1] then return redis.call('HGET', KEYS[1], name) end end"
    [record] = redis(path, ("EVAL", script, 1, table, key_id))
    for _ in range(count // 1000):
        pairs = [word for _ in range(1000) for word in (secrets.token_hex(32), record)]
        redis(path, ("HSET", table, *pairs))
    [known] = redis(path, ("HLEN", table))
    assert known > count, known


@contextlib.contextmanager
def subject(options, tenants, keys):
    """A client of a service of its own: open, or with so many keys and with quotas."""
    words = ["-m", options.mode, "-w", "2"]
    if keys:
        words += ["--keys", "required"]
    if tenants:
        words += ["--tenants", tenants]
    with belljar_testkit.Service(options.belljar, *words) as up:
        if not keys:
            yield Client(up.url)
            return
        command = [options.belljar, "key", "create", "bench", "--tenant", "bench", "--json", "--data", up.data]
        made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if keys > 1:
            fill(Path(up.data), made["key"], keys)
        yield KeyClient(up.url, made["secret"])


def measure(options, clients):
    """Samples of each: seconds of single calls, and tasks a second of batches."""
    functions = {name: client.register(noop, runtime=options.runtime) for name, client in clients.items()}
    singles, rates = {name: [] for name in clients}, {name: [] for name in clients}
    order = list(clients)
    for turn in range(options.turns + 1):
        # Another one goes first each time: what was measured before may leave traces.
        order = order[1:] + order[:1]
        for name in order:
            client, function = clients[name], functions[name]
            samples = timed(lambda n: client.call(function, n), options.singles)
            start = time.perf_counter()
            ids = client.batch(function, range(options.batch))
            assert client.gather(ids) == list(range(options.batch))
            rate = options.batch / (time.perf_counter() - start)
            if turn > 0:  # The first warms up.
                singles[name].append(statistics.median(samples))
                rates[name].append(rate)
    return singles, rates


def ratio(ours, theirs):
    """The median of the ratios of turns: what changes between turns meets both."""
    return statistics.median(one / other for one, other in zip(ours, theirs))


def show(singles, rates, goal):
    """Prints a table, and returns what is beyond the goal."""
    print("| service | one at a time, p50 | of open | batch | of open |")
    print("|---|---|---|---|---|")
    beyond = []
    for name in singles:
        slower, costlier = ratio(singles[name], singles["open"]), ratio(rates["open"], rates[name])
        single, rate = statistics.median(singles[name]) * 1e6, statistics.median(rates[name])
        print(f"| {name} | {single:.0f} us | {slower:.3f} | {rate:.0f} tasks/s | {1 / costlier:.3f} |")
        if max(slower, costlier) > goal:
            beyond.append(name)
    return beyond


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--runtime", default="native")
    parser.add_argument("--mode", default="local")
    parser.add_argument("--singles", type=int, default=400)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=12)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        tenants = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".toml"))
        tenants.write(TENANTS)
        tenants.flush()
        many = f"keys, quotas, {KEYS:,} keys"
        quotas = tenants.name
        wanted = {"open": (None, 0), "keys": (None, 1), "keys, quotas": (quotas, 1), "the same again": (quotas, 1), many: (quotas, KEYS)}
        clients = {name: stack.enter_context(subject(options, *how)) for name, how in wanted.items()}
        beyond = show(*measure(options, clients), GOAL)
    if beyond:
        print(f"beyond the goal, {GOAL}: {', '.join(beyond)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
