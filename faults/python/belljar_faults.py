"""The functions of the fault harness. They write every execution to a file."""

import itertools
import json
import os
import random
import time

_runs = itertools.count(1)


def native(key, executions):
    """Appends its start and end to the file `executions`, and returns which execution this was."""
    run = f"{os.getpid()}.{next(_runs)}"
    _write(executions, key, run, "start")
    time.sleep(0.003)
    _write(executions, key, run, "end")
    return f"{key} {run}"


def native_large(key, executions):
    """The same of a key that may be very long, with spaces at its end; and now and then returns so much besides that it is left in a
    file or object."""
    first = native(key.strip(), executions)
    return (first, os.urandom(9 << 20)) if int(key) % 50 == 1 else first


def sandbox(key, executions):
    """The same without files: the execution has a name and is not written."""
    return f"{key} {random.getrandbits(48):x}.0"


def _write(executions, key, run, phase):
    at_us = time.monotonic_ns() // 1000
    line = {"key": int(key), "run": run, "pid": os.getpid(), "phase": phase, "at_us": at_us}
    # A single append keeps the lines of several processes whole.
    file = os.open(executions, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)
