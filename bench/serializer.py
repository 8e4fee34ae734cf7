"""The Python side of the benchmarks: one request a line, one answer a line, both JSON.

    {"source": TEXT, "function": NAME}                             ->  {"payload": TEXT}
    {"source": TEXT, "function": NAME, "calls": [[ARG, ...], ...]} ->  {"calls": [[ARGUMENTS, EXPECTED], ...]}
    {"source": TEXT, "function": NAME, "variants": [FIRST, COUNT]} ->  {"payloads": [TEXT, ...]}
    {"bytes": SIZE, "count": N}                                   ->  {"calls": [[ARGUMENTS, EXPECTED], ...]}
    {}                                                            ->  {"versions": {NAME: VERSION, ...}, "seconds": TIME}

Payloads are what a client sends, made by dill as a client makes them; EXPECTED is the serialized value that
the call must give. The last form tells versions, and how long a fixed piece of work takes on this machine.
"""

import codecs
import json
import os
import platform
import sys
import time

import dill


def serialize(value):
    return codecs.encode(dill.dumps(value), "base64").decode()


def load(source, name):
    # As in a client's script: what is defined in `__main__` travels by value.
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    return namespace[name]


def pair(arguments, expected):
    return [serialize((tuple(arguments), {})), serialize(expected)]


def echoes(size, count):
    blocks = [os.urandom(size) for _ in range(count)]
    return [pair([block], block) for block in blocks]


def variants(function, first, count):
    pickled = dill.dumps(function)
    assert pickled.count(b"00000000") == 1, "the mark is not there once"
    marked = (pickled.replace(b"00000000", b"%08d" % number) for number in range(first, first + count))
    return [codecs.encode(variant, "base64").decode() for variant in marked]


def yardstick():
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        total = 0
        for number in range(200_000):
            total += number * number % 7
        best = min(best, time.perf_counter() - start)
    return best


def answer(request):
    if "bytes" in request:
        return {"calls": echoes(request["bytes"], request["count"])}
    if "source" not in request:
        versions = {"Python": platform.python_version(), "dill": dill.__version__}
        return {"versions": versions, "seconds": yardstick()}
    function = load(request["source"], request["function"])
    if "variants" in request:
        return {"payloads": variants(function, *request["variants"])}
    if "calls" not in request:
        return {"payload": serialize(function)}
    return {"calls": [pair(arguments, function(*arguments)) for arguments in request["calls"]]}


# What a function gives does not depend on how long it sleeps.
time.sleep = lambda seconds: None

for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
