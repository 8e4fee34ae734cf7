"""Who sees what: every route with every kind of key, and whether the time of an answer tells what exists."""

import json
import statistics
import time

from peer import Peer, Service, leave, say, serialize, table

# Times that differ by more tell something, even on a busy machine.
TELLS = 1.3
SCOPES = ("submit", "read", "cancel", "register")


def routes(peer, function, task, worker):
    """Every route of `/openapi.json`: method, path, body, scope (none: public), whether it names the function or the task."""
    places = {"file": "dashboard.js", "task_id": task, "function_id": function, "worker_id": worker, "name": "left.txt"}
    found = []
    for pattern, methods in peer.ok("GET", "/openapi.json")["paths"].items():
        for method, operation in methods.items():
            security = operation.get("security") or [{}]
            scope = (security[0].get("key") or [None])[0]
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("example")
            if body is not None:
                body = {**body, **{name: value for name, value in {"function_id": function, "task_ids": [task]}.items() if name in body}}
            path = pattern.format(**places)
            names = function in path + json.dumps(body) or task in path + json.dumps(body)
            found.append((method.upper(), path, body, scope, names))
    # Last, as nothing finds the function any more.
    return sorted(found, key=lambda route: route[0] == "DELETE")


def is_right(kind, route, status, reply, ours):
    _, _, _, scope, names = route
    if kind in ("no key", "expired", "revoked", "unknown"):
        return status == (401 if scope else 200)
    if kind == "no scope":
        return status == (403 if scope else 200)
    if scope == "admin":
        return status == 403
    if names:
        return status == 404
    return status == 200 and not any(own in json.dumps(reply) for own in ours)


def isolation(options):
    """Every route with every kind of key."""
    table("Who sees what: every route with every kind of key", "key", "requests", "wrong")
    with Service(options) as service:
        owner = service.peer("ann")
        function = owner.register(leave)
        call = {"function_id": function, "payload": serialize(((1,), {})), "outputs": ["left.txt"]}
        task = owner.ok("POST", "/execute_function?wait=60", call)["task_id"]
        status, _, _ = owner.send("GET", f"/v1/tasks/{task}/files/left.txt")
        assert status == 200, status  # So that a 404 for others is one for others.
        worker = Peer(service.url, service.key("ann", "--scope", "admin")).ok("GET", "/v1/workers")["items"][0]["worker_id"]
        revoked = service.key("ann", "--scope", "admin")
        service.revoke(revoked)
        keys = {
            "no key": None,
            "unknown": "bj_" + "0" * 40,
            "expired": service.key("ann", "--scope", "admin", "--expires", "0s"),
            "revoked": revoked,
            "another tenant": service.key("mallory"),
        }
        lacking = {scope: service.key("ann", "--scope", ",".join(set(SCOPES) - {scope})) for scope in (*SCOPES, "admin")}
        wrong = 0
        for kind in (*keys, "no scope"):
            count, bad = 0, []
            for route in routes(owner, function, task, worker):
                method, path, body, scope, _ = route
                if path == "/v1/events" and kind == "another tenant":
                    continue  # A stream, which says nothing of others: `cargo nextest run -p belljar-gateway --test http`.
                if kind == "no scope" and scope is None:
                    continue
                peer = Peer(service.url, lacking[scope] if kind == "no scope" else keys[kind])
                status, reply, _ = peer.send(method, path, body)
                count += 1
                if not is_right(kind, route, status, reply, (function, task)):
                    bad.append(f"{method} {path}: {status} {reply}")
            say(kind, count, len(bad))
            wrong += len(bad)
            for line in bad:
                print(f"wrong: {kind}: {line}")
        wrong += existence(service, owner, function, task)
    return wrong


def existence(service, owner, function, task):
    """Whether answers or their times tell that something of another tenant exists."""
    table("Does the time of a 404 tell what exists? p50 of 300 requests each, in turns", "route", "another tenant's", "nobody's", "ratio")
    mallory, nobody, wrong = service.peer("mallory"), "0f8fad5b-d9cb-469f-a165-70867728950e", 0
    for pattern, real in (("/result/{}", task), ("/v1/tasks/{}", task), ("/v1/functions/{}", function)):
        times = {real: [], nobody: []}
        answers = {}
        for _ in range(300):
            for name in times:
                start = time.perf_counter()
                status, reply, _ = mallory.send("GET", pattern.format(name))
                times[name].append(time.perf_counter() - start)
                answers[name] = (status, json.dumps(reply).replace(name, "ID"))
        if answers[real] != answers[nobody]:
            wrong += 1
            print(f"wrong: {pattern}: {answers}")
        ours, theirs = (statistics.median(times[name]) * 1e6 for name in (real, nobody))
        if not 1 / TELLS < ours / theirs < TELLS:
            wrong += 1
            print(f"wrong: {pattern}: the time of its answer tells what exists")
        say(pattern.format("{id}"), f"{ours:.0f} us", f"{theirs:.0f} us", f"{ours / theirs:.2f}")
    return wrong
