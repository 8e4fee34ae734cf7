"""How much memory large values take in each process of a service: a table of peaks.

    .belljar/venv/bin/python bench/values.py --belljar target/release/belljar [--mib 1024] [--slow-mib 100]

A value is uploaded and read back, eight clients read one slowly at once, and calls get a value by reference and leave one there. The
peak of each process is its resident memory (`VmHWM`), set back before each row.
"""

import argparse
import hashlib
import os
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "client/src"))

import belljar
from python_client import service

READERS = 8
# What a slow reader takes in a second.
SLOW_BYTES = 2 << 20
PARTS = ("gateway", "dispatcher", "worker", "redis-server", "belljar-python", "belljar-sandbox")


def length(value):
    return len(value)


def make(mib):
    return bytes(mib << 20)


def processes(root):
    """The processes below one, by what they are."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            text = b" ".join(words[:2]).decode(errors="replace")
            names[int(entry)] = next((part for part in PARTS if part in text), None)
    found = {}
    for pid, name in names.items():
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if name and above == root:
            found.setdefault(name, []).append(pid)
    return found


class Peaks:
    def __init__(self, root):
        self.root = root
        self.rows = []

    def of(self, what, work):
        for pids in processes(self.root).values():
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        start = time.monotonic()
        work()
        took = time.monotonic() - start
        self.rows.append((what, took, {name: max(map(peak, pids)) for name, pids in processes(self.root).items()}))
        what, took, peaks = self.rows[-1]
        cells = [f"{peaks[part]:.0f}" if part in peaks else "" for part in PARTS]
        print(f"| {what} | {took:.1f} | {' | '.join(cells)} |", flush=True)


def peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def read_slowly(url, path, seconds):
    host, port = url.removeprefix("http://").split(":")
    reader = socket.create_connection((host, int(port)))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reader.recv(SLOW_BYTES // 20)
        time.sleep(0.05)
    reader.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--belljar", required=True)
    parser.add_argument("--mib", type=int, default=1024, help="the value that is uploaded and read back")
    parser.add_argument("--slow-mib", type=int, default=100, help="the value that slow readers read")
    parser.add_argument("--call-mib", type=int, default=48, help="the value that calls get and return")
    parser.add_argument("--mode", default="push")
    arguments = parser.parse_args()
    with service(arguments.belljar, arguments.mode) as (pid, url):
        measure(arguments, url, Peaks(pid))


def measure(arguments, url, peaks):
    print(f"| MiB at most, mode {arguments.mode} | s | {' | '.join(PARTS)} |")
    print("|---|---|" + "---|" * len(PARTS))
    with belljar.Executor(url, runtime="native") as native, belljar.Executor(url, runtime="sandbox") as sandbox:
        for executor in (native, sandbox):
            executor.submit(length, b"").result(120)
        peaks.of("idle", lambda: time.sleep(1))
        large = os.urandom(1 << 20) * arguments.mib
        kept = []
        peaks.of(f"{arguments.mib} MiB uploaded", lambda: kept.append(native.put(large)))
        back = []
        peaks.of(f"{arguments.mib} MiB read back", lambda: back.append(kept[0].get()))
        assert hashlib.sha256(back.pop()).digest() == hashlib.sha256(large).digest()
        kept[0].delete()
        del large
        slow = native.put(os.urandom(1 << 20) * arguments.slow_mib)
        path = f"/v1/blobs/{slow.id.partition(':')[2]}"

        def all_slow():
            readers = [threading.Thread(target=read_slowly, args=(url, path, 8)) for _ in range(READERS)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()

        peaks.of(f"{READERS} slow readers of {arguments.slow_mib} MiB", all_slow)
        value = os.urandom(1 << 20) * arguments.call_mib
        data = native.put(value)
        for name, executor in (("native", native), ("sandbox", sandbox)):
            peaks.of(f"{arguments.call_mib} MiB to a {name} call", lambda: executor.submit(length, data).result(120))
            kept_there = executor.options(keep=True)
            peaks.of(f"{arguments.call_mib} MiB left by a {name} call", lambda: kept_there.submit(make, arguments.call_mib).result(120))
        # Room for the value and for its pickle.
        roomy = native.options(memory_mb=3 * arguments.mib + 256, keep=True)
        left = []
        peaks.of(f"{arguments.mib} MiB left by a native call", lambda: left.append(roomy.submit(make, arguments.mib).result(300)))
        peaks.of(f"{arguments.mib} MiB to a native call", lambda: roomy.submit(length, left[0]).result(300))


if __name__ == "__main__":
    main()
