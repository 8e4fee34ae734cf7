"""What watching costs: per cent of a processor that a service takes under load, and what it and the browser take more while a
page is shown, in turns with a blank one.

    .belljar/venv/bin/python tests/browser/cost.py --belljar target/release/belljar --rate 5000
"""

import argparse
import json
import statistics
import threading
import time
import urllib.request
from pathlib import Path

import service
from webdriver import Browser

# How many calls one request submits.
BATCH = 250
CLOCK_TICKS = 100


def processes(root: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = int(entry.parent.name), int(entry.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found


def cpu_s(root: int) -> float:
    """The processor time that a process and all it started have used, in seconds."""
    ticks = 0
    for pid in processes(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(int(it) for it in fields[11:15])
    return ticks / CLOCK_TICKS


class Load:
    """Submits calls at a rate, and lets the queue grow no longer."""

    def __init__(self, of: service.Service, rate: int):
        self.service, self.rate, self.is_over = of, rate, False

        def nothing():
            pass

        function = of.register(nothing, runtime="native")
        payload = service.serialize(((), {}))
        self.body = {"function_id": function, "payloads": [payload] * BATCH}
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        due = time.monotonic()
        while not self.is_over:
            self.service.ask("/v1/tasks", self.body)
            due += BATCH / self.rate
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self.is_over = True
        self.thread.join()


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--belljar", type=Path, default=service.TARGET / "release" / "belljar")
    parse.add_argument("--rate", type=int, default=5000)
    parse.add_argument("--seconds", type=float, default=6, help="of each look")
    parse.add_argument("--rounds", type=int, default=4, help="looks at each page, and at a blank one")
    parse.add_argument("--watch", help="the address of another gateway of the same service, to watch it there")
    given = parse.parse_args()
    of = service.Service(program=given.belljar)
    browser, load, more = Browser(is_recording=False), None, []
    try:
        load = Load(of, given.rate)
        url = of.url
        if given.watch:
            other = service.Gateway(Path(given.watch), of)
            more.append(other)
            url = other.url

        parts = {"service": of.process.pid, "browser": browser.driver.pid, **({"watched_gateway": more[0].process.pid} if more else {})}

        def measure(address: str) -> dict[str, float]:
            browser.open("about:blank")
            browser.open(address)
            time.sleep(3)
            begun, used = time.monotonic(), {part: cpu_s(pid) for part, pid in parts.items()}
            tasks = of.ask("/v1/audit")["completed"]
            time.sleep(given.seconds)
            elapsed = time.monotonic() - begun
            percent = {part: 100 * (cpu_s(pid) - used[part]) / elapsed for part, pid in parts.items()}
            return {"tasks_per_s": (of.ask("/v1/audit")["completed"] - tasks) / elapsed, **percent}

        for page in ("", "tasks", "functions", "workers", "stream"):
            pairs = [(measure("about:blank"), measure(f"{url}/#/{page}")) for _ in range(given.rounds)]
            rate = statistics.median(shown["tasks_per_s"] for _, shown in pairs)
            adds = {f"{part}_adds": round(statistics.median(shown[part] - blank[part] for blank, shown in pairs), 1) for part in parts}
            of_service = round(statistics.median(blank["service"] for blank, _ in pairs), 1)
            print(json.dumps({"page": page or "overview", "tasks_per_s": round(rate), "service": of_service, **adds}), flush=True)
    finally:
        if load:
            load.close()
        browser.close()
        for it in more:
            it.close()
        of.close()


if __name__ == "__main__":
    main()
