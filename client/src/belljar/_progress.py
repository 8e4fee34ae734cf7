"""`progress`: how a function says how far it has come."""

from __future__ import annotations

import sys
from typing import Any, Optional


def progress(done: Any, total: Optional[Any] = None, note: Optional[str] = None) -> None:
    """Says, inside a call, that `done` of `total` is done, and in a few words what is done now.

        def train(epochs):
            for epoch in range(epochs):
                belljar.progress(epoch, epochs, f"epoch {epoch}")

    The task's record, `Future.stream`, the dashboard and `belljar run` show it. It may be called as often as one likes: the
    service is told ten times a second at most. Outside of a call it does nothing.
    """
    runner = sys.modules.get("runner_progress")
    if runner is not None:
        runner.progress(done, total, note)
