"""Collects results by long polls."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Callable, Iterator, Optional, Sequence

from ._calls import PendingCall, finish
from ._errors import ServiceError
from ._service import Service

# Polls under way at once, each with a connection of its own.
_POLLS = 3
_WAIT = 30.0
# The service takes 10,000 ids in one poll. Fewer are better while more polls are free: tasks end in the
# order of their submission, and a poll whose tasks have all ended has nothing to ask for again.
_POLL_IDS = 500
_POLL_IDS_MOST = 10_000
# New tasks may wait so long for a poll to come back, for each open task, before the polls are regrouped
# to make room: under load one comes back at any moment, and with few tasks regrouping costs little.
_PATIENCE_PER_TASK = 0.000_2
_PATIENCE_MOST = 0.05
# One id that is unknown, or whose record is damaged, refuses the whole poll; the answer names it.
_ABOUT_ONE = ("unknown_task", "record_unreadable")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Collector:
    """The tasks that somebody waits for."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, service: Service, on_end: Callable[[], None], *, keep: bool = False
    ) -> None:
        # Whether what calls have returned is left with the service.
        self._keep = keep
        self._loop = loop
        self._service = service
        self._on_end = on_end
        self._open: dict[str, PendingCall] = {}
        # Further waiters for a task that is awaited already, as by a key that was used twice.
        self._others: dict[str, list[PendingCall]] = {}
        self._unasked: list[str] = []
        self._polls: dict[asyncio.Task[None], Sequence[str]] = {}
        self._regrouping: Optional[asyncio.TimerHandle] = None

    @property
    def is_busy(self) -> bool:
        """Whether a task is awaited."""
        return bool(self._open)

    def pending(self) -> list[PendingCall]:
        """Those who wait."""
        return [*self._open.values(), *(other for others in self._others.values() for other in others)]

    def add(self, tasks: Sequence[tuple[str, PendingCall]], ended: Sequence[dict[str, Any]] = ()) -> None:
        """Awaits tasks, of which these have ended."""
        new = []
        for task_id, pending in tasks:
            if self._open.setdefault(task_id, pending) is pending:
                new.append(task_id)
            else:
                self._others.setdefault(task_id, []).append(pending)
        for result in ended:
            self._finish(result)
        self._unasked.extend(task_id for task_id in new if task_id in self._open)
        self._ask()

    def stop(self) -> list[asyncio.Task[None]]:
        """Awaits nothing more; returns what must be cancelled."""
        if self._regrouping is not None:
            self._regrouping.cancel()
        self._open.clear()
        self._others.clear()
        self._unasked.clear()
        return list(self._polls)

    def _ask(self) -> None:
        while self._unasked and len(self._polls) < _POLLS:
            share = -(-len(self._unasked) // (_POLLS - len(self._polls)))
            size = min(max(share, _POLL_IDS), _POLL_IDS_MOST)
            task_ids, self._unasked = self._unasked[:size], self._unasked[size:]
            task = self._loop.create_task(self._poll(task_ids))
            self._polls[task] = task_ids
            task.add_done_callback(self._polled)
        if self._unasked and self._regrouping is None:
            patience = min(len(self._open) * _PATIENCE_PER_TASK, _PATIENCE_MOST)
            self._regrouping = self._loop.call_later(patience, self._regroup)

    def _regroup(self) -> None:
        """Ends all polls, so that their tasks and the new ones share fewer."""
        self._regrouping = None
        if self._unasked:
            for task in self._polls:
                task.cancel()

    def _polled(self, task: asyncio.Task[None]) -> None:
        task_ids = self._polls.pop(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                for task_id in task_ids:
                    self._end(task_id, error)
        # Those still open go to the back, so that none is passed over when there are too many for all polls.
        self._unasked.extend(task_id for task_id in task_ids if task_id in self._open)
        # After a regrouping only the last that was cancelled asks again, for all.
        if not task.cancelled() or not self._polls:
            self._ask()
        self._on_end()

    async def _poll(self, task_ids: Sequence[str]) -> None:
        # While there are more tasks than polls can ask for, they take turns.
        wait = _WAIT if len(self._open) <= _POLLS * _POLL_IDS_MOST else 1.0
        try:
            results = await self._service.results(task_ids, wait, self._keep)
        except ServiceError as error:
            if error.code not in _ABOUT_ONE:
                raise
            named = [task_id for task_id in _UUID.findall(str(error)) if task_id in self._open]
            if not named:
                raise
            self._end(named[0], error)
            return
        for result in results:
            self._finish(result)

    def _finish(self, result: dict[str, Any]) -> None:
        for pending in self._take(result["task_id"]):
            finish(pending, result, self._keep)

    def _end(self, task_id: str, error: BaseException) -> None:
        for pending in self._take(task_id):
            pending.set_exception(error)

    def _take(self, task_id: str) -> Iterator[PendingCall]:
        """Those who wait for a task that has ended, and still want to know."""
        first = self._open.pop(task_id, None)
        if first is not None and not first.done():
            yield first
        for other in self._others.pop(task_id, ()):
            if not other.done():
                yield other
