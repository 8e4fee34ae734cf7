"""Quotas and limits of size: more is asked for than each allows."""

import contextlib
import socket
import threading
import time

from peer import Peer, Service, nap, noop, say, serialize, spin, table

QUOTAS = """
connections_per_address = 40
[tenant.rate]
quotas = { requests_per_s = 20, burst = 20 }
[tenant.polls]
quotas.long_polls = 2
[tenant.streams]
quotas.event_streams = 1
[tenant.functions]
quotas.functions = 3
[tenant.stored]
quotas.stored_mb = 1
[tenant.queued]
quotas.queued_tasks = 5
[tenant.running]
quotas.running_tasks = 1
[tenant.cpu]
quotas.cpu_s_per_hour = 1
[tenant.memory]
quotas.memory_mb_s_per_hour = 20
[tenant.results]
limits.max_result_mb = 1
[tenant.payloads]
limits.payload_kb = 8
"""


def at_once(count, work):
    """Runs `work` so often at the same time, and returns what came of each."""
    done = []
    threads = [threading.Thread(target=lambda: done.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def use_up(service, tenant):
    """Asks for more than a quota allows: the answers, as pairs of status and what comes with it."""
    peer = service.peer(tenant)
    key = peer.headers["Authorization"].removeprefix("Bearer ")
    small = serialize(((1,), {}))
    if tenant == "rate":
        return [peer.send("GET", "/v1/functions") for _ in range(60)]
    if tenant == "functions":
        body = {"name": "noop", "payload": serialize(noop)}
        return [peer.send("POST", "/register_function", body) for _ in range(6)]
    function = peer.register({"cpu": spin, "memory": nap}.get(tenant, noop))
    one = {"function_id": function, "payload": small}
    if tenant == "polls":
        task = peer.ok("POST", "/execute_function", {**one, "delay_s": 60})["task_id"]
        return at_once(5, lambda: Peer(service.url, key).send("GET", f"/result/{task}?wait=2"))
    if tenant == "streams":
        open_ones = [Peer(service.url, key) for _ in range(4)]
        return [other.send("GET", "/v1/events") for other in open_ones]
    if tenant == "queued":
        return [peer.send("POST", "/execute_function", {**one, "delay_s": 60}) for _ in range(10)]
    if tenant == "stored":
        large = {**one, "payload": serialize(((bytes(300_000),), {})), "delay_s": 60}
        return [peer.send("POST", "/execute_function", large) for _ in range(8)]
    long = {**one, "payload": serialize(((0.4,), {}))}
    return [peer.send("POST", "/execute_function?wait=60", long) for _ in range(12)]


# The table of each tenant, and how many of its requests are done at most.
ALLOWED = {
    "rate": ("requests_per_s", 30),
    "polls": ("long_polls", 2),
    "streams": ("event_streams", 1),
    "functions": ("functions", 3),
    "stored": ("stored_mb", 4),
    "queued": ("queued_tasks", 5),
    "cpu": ("cpu_s_per_hour", 4),
    "memory": ("memory_mb_s_per_hour", 11),
}


def quotas(options):
    """Asks for more than each quota allows."""
    table("Quotas: asked for more than is allowed", "quota", "asked", "done", "429", "Retry-After", "kept")
    wrong = 0
    with Service(options, tenants=QUOTAS) as service:
        for tenant, (quota, most) in ALLOWED.items():
            answers = use_up(service, tenant)
            done = sum(status == 200 for status, _, _ in answers)
            refused = [(reply, headers) for status, reply, headers in answers if status == 429]
            # Of a stream nothing was read but the status.
            names = all(reply.get("quota", quota) == quota for reply, _ in refused)
            later = sorted({int(headers["Retry-After"]) for _, headers in refused if headers})
            is_kept = 0 < done <= most and done + len(refused) == len(answers) and refused and names
            wrong += not is_kept
            say(quota, len(answers), done, len(refused), f"{later[0]}-{later[-1]} s" if later else "", "yes" if is_kept else answers)
        wrong += running(service) + sizes(service) + connections(service)
    return wrong


def running(service):
    """More tasks than may run at once are not refused: they wait, and their records say why."""
    peer = service.peer("running")
    ids = peer.batch(peer.register(nap), 0.5, 4)
    time.sleep(0.2)
    records = [peer.ok("GET", f"/v1/tasks/{task}") for task in ids]
    now = sum(record["status"] == "RUNNING" for record in records)
    waiting = [record.get("waiting", {}).get("reason") for record in records if record["status"] == "QUEUED"]
    is_kept = now == 1 and "quota" in waiting
    say("running_tasks", 4, f"{now} at once", 0, "", "yes" if is_kept else waiting)
    return not is_kept


def sizes(service):
    """Results and arguments beyond the policy."""
    peer, wrong = service.peer("results"), 0
    make = peer.register(bytes)
    replies = [
        peer.ok("POST", "/execute_function?wait=60", {"function_id": make, "payload": serialize(((size,), {}))})
        for size in (1 << 19, 1 << 21)
    ]
    is_kept = [reply["status"] for reply in replies] == ["COMPLETED", "FAILED"]
    say("limits.max_result_mb", 2, 1, "", "", "yes: the call fails" if is_kept else [reply["status"] for reply in replies])
    wrong += not is_kept
    peer = service.peer("payloads")
    function = peer.register(noop)
    sent = [peer.send("POST", "/execute_function", {"function_id": function, "payload": serialize(((bytes(size),), {}))})[0] for size in (100, 10_000)]
    say("limits.payload_kb", 2, sent.count(200), "", "", "yes: 413" if sent == [200, 413] else sent)
    return wrong + (sent != [200, 413])


def connections(service):
    """Connections of one address."""
    host, port = service.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        open_ones = []
        for _ in range(60):
            peer = stack.enter_context(socket.create_connection((host, int(port)), source_address=("127.0.0.2", 0)))
            peer.settimeout(5)
            open_ones.append(peer)
        said = []
        for peer in open_ones[40:]:
            with contextlib.suppress(OSError):
                said.append(b"429" in peer.recv(1000))
        others = Peer(service.url, source="127.0.0.3").send("GET", "/healthz")[0]
    refused = sum(said)
    is_kept = refused == 20 and others == 200
    say("connections_per_address", 60, 60 - refused, refused, "", "yes" if is_kept else (said, others))
    return not is_kept
