"""Shares of the slots: Jain's index over many tenants, and no-ops beside long calls."""

import time
from datetime import datetime

from peer import Service, nap, noop, say, table

# Jain's index is 1 where all have the same, and 1/n where one has everything.
FAIR = 0.95
# How often a polite tenant's slowest calls may take what they take in quiet.
GOAL = 3.0
# About so many calls of all tenants together show the shares.
CALLS = 20_000


def jain(shares):
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def started(peer):
    """When each task of a tenant started, in seconds."""
    times, path = [], "/v1/tasks?limit=1000"
    while path:
        page = peer.ok("GET", path)
        times += [datetime.fromisoformat(item["started_at"].replace("Z", "+00:00")).timestamp() for item in page["items"]]
        path = page.get("next") and f"/v1/tasks?limit=1000&cursor={page['next']}"
    return sorted(times)


def compete(service, peers, sizes):
    """How many calls of each tenant started while all of them had some waiting."""
    blocker = service.peer("blocker")
    held = blocker.batch(blocker.register(nap), 600, 2)
    while any(blocker.ok("GET", f"/status/{task}")["status"] != "RUNNING" for task in held):
        time.sleep(0.05)
    last = [peer.batch(peer.register(noop), 1, size)[-1] for peer, size in zip(peers, sizes)]
    for task in held:
        blocker.send("POST", f"/v1/tasks/{task}/cancel")
    for peer, task in zip(peers, last):
        while (status := peer.ok("GET", f"/status/{task}?wait=60")["status"]) in ("QUEUED", "RUNNING"):
            pass
        assert status == "COMPLETED", status
    times = [started(peer) for peer in peers]
    end = min(each[-1] for each in times)
    return [sum(at <= end for at in each) for each in times]


def fairness(options):
    table(f"Shares of two slots while all have calls waiting; goal: Jain's index of at least {FAIR}", "tenants", "the largest queue", "calls of each", "Jain's index")
    wrong = 0
    for count in options.tenants:
        skew = 100 if count <= 100 else 10
        weights = [skew ** (number / (count - 1)) for number in range(count)]
        scale = max(CALLS / sum(weights), 8)
        with Service(options) as service:
            peers = [service.peer(f"t{number}") for number in range(count)]
            calls = compete(service, peers, [round(scale * weight) for weight in weights])
        index = jain(calls)
        wrong += index < FAIR
        say(count, f"{skew} times the smallest", f"{min(calls)} to {max(calls)}", f"{index:.4f}")
    shares = {"one": 1, "two": 2, "four": 4}
    text = "".join(f"[tenant.{name}]\nweight = {weight}\n" for name, weight in shares.items())
    with Service(options, tenants=text) as service:
        calls = compete(service, [service.peer(name) for name in shares], [4000] * 3)
    index = jain([each / weight for each, weight in zip(calls, shares.values())])
    wrong += index < FAIR
    say("3, of weights 1, 2 and 4", "as large as the others", ", ".join(map(str, calls)), f"{index:.4f}")
    return wrong


def quantile_ms(samples, share):
    return sorted(samples)[round(share * (len(samples) - 1))] * 1e3


def beside_long_calls(options):
    """No-ops of three tenants while a fourth has long calls of high priority."""
    table(f"No-ops of three tenants beside long calls at high priority, one slot reserved; goal: p99 within {GOAL}x of quiet", "", "p50", "p99", "x")
    with Service(options, "--reserved-slots", "1") as service:
        polite = [(peer, peer.register(noop)) for peer in map(service.peer, ("ann", "bob", "cleo"))]
        mallory = service.peer("mallory")

        def measure():
            samples = []
            for number in range(600):
                peer, function = polite[number % len(polite)]
                start = time.perf_counter()
                assert peer.call(function, number) == number
                samples.append(time.perf_counter() - start)
                time.sleep(0.002)
            return samples[100:]

        quiet = measure()
        mallory.batch(mallory.register(nap), 9, 5_000, priority="high")
        time.sleep(1)
        flooded = measure()
    factor = quantile_ms(flooded, 0.99) / quantile_ms(quiet, 0.99)
    for name, samples, times in (("quiet", quiet, ""), ("5,000 calls of 9 s", flooded, f"{factor:.1f}")):
        say(name, f"{quantile_ms(samples, 0.5):.2f} ms", f"{quantile_ms(samples, 0.99):.2f} ms", times)
    return factor > GOAL
