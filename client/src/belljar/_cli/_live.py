"""Shows what a task tells while it runs: its output where it wrote it, and on a terminal how far it has come."""

from __future__ import annotations

import sys
from typing import Iterable

from .._records import TaskEvent
from ._table import CallProgress


def show(events: Iterable[TaskEvent]) -> None:
    """Shows the events of a task, up to its end."""
    bar = CallProgress()
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    last = {"stdout": "", "stderr": ""}
    for event in events:
        if event.kind in streams:
            bar.clear()
            if event.skipped:
                print(f"... {event.skipped} bytes of {event.kind} are left out ...", file=sys.stderr)
            print(event.text, end="", file=streams[event.kind], flush=True)
            last[event.kind] = event.text
        elif event.kind == "attempt":
            bar.clear()
            print(f"attempt {event.attempt} begins", file=sys.stderr)
        elif event.progress is not None:
            bar.show(event.progress)
    bar.clear()
    for kind, text in last.items():
        if text and not text.endswith("\n"):
            print(file=streams[kind], flush=True)
