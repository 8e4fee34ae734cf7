"""What the fault harness has run: functions that leave a trace of every execution."""

import itertools
import json
import os
import random
import time

_runs = itertools.count(1)


def native(key, side):
    """Notes its start and its end in the file `side`, and returns which execution this was."""
    run = f"{os.getpid()}.{next(_runs)}"
    _note(side, key, run, "start")
    time.sleep(0.003)
    _note(side, key, run, "end")
    return f"{key} {run}"


def sandbox(key, side):
    """The same where there are no files: the execution is named, and not noted."""
    return f"{key} {random.getrandbits(48):x}.0"


def _note(side, key, run, phase):
    at_us = time.monotonic_ns() // 1000
    line = {"key": int(key), "run": run, "pid": os.getpid(), "phase": phase, "at_us": at_us}
    # One write to the end of the file: lines of several processes stay whole.
    file = os.open(side, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)
