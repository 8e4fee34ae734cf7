"""The futures that executors return."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Generic, Iterator, Optional, TypeVar

from ._direct import WAIT_SECONDS, Direct
from ._graph import FutureFound
from ._records import TaskEvent, TaskRecord

if TYPE_CHECKING:
    from ._async import AsyncExecutor
    from ._calls import HasReader
    from ._executor import Executor

T = TypeVar("T")


if TYPE_CHECKING:
    _Future = concurrent.futures.Future
    _AsyncFuture = asyncio.Future
else:  # The library's own take a parameter, but are not generic.

    class _Future(concurrent.futures.Future, Generic[T]):
        pass

    class _AsyncFuture(asyncio.Future, Generic[T]):
        pass


_ENDED = frozenset({"CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"})


class Future(_Future[T]):
    """A call's future: a `concurrent.futures.Future` that knows its task.

    `task_id` names the task once the service has accepted the call; `Executor.flush` waits for that, and
    `Executor.reattach` makes a future of it again, in another process too.
    """

    # What reads the result; set before the call is sent.
    source: HasReader

    def __init__(self, executor: Executor, source: Optional[HasReader] = None) -> None:
        super().__init__()
        self._executor = executor
        if source is not None:
            self.source = source
        self.task_id: Optional[str] = None
        self.has_callbacks = False
        # Where the thread that waits may read the answer itself, once.
        self._direct: Optional[Direct] = None

    def result(self, timeout: Optional[float] = None) -> T:
        """What the function returned; raises what it raised."""
        try:
            left = self._awaited(timeout)
            if self._state == "FINISHED" and self._exception is None:  # As below, without the lock.
                return self._result  # type: ignore[return-value]
            return super().result(left)
        except concurrent.futures.TimeoutError:
            if self.done():  # The function's own.
                raise
            raise self._late(timeout) from None

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What the function raised, if it did."""
        try:
            return super().exception(self._awaited(timeout))
        except concurrent.futures.TimeoutError:
            raise self._late(timeout) from None

    def _late(self, timeout: Optional[float]) -> BaseException:
        """Says what has not come."""
        named = f"task {self.task_id}" if self.task_id else "the call"
        return concurrent.futures.TimeoutError(f"{named} has not ended within {timeout or 0:g} s")

    def __repr__(self) -> str:
        return f"<belljar.Future {_described(self, self._state.lower())} at {self._executor.url}>"

    def __reduce__(self) -> Any:
        raise FutureFound(FutureFound.SENTENCE)

    def _awaited(self, timeout: Optional[float]) -> Optional[float]:
        """Reads the answer, if that is this thread's to do; what is left of the timeout."""
        direct, self._direct = self._direct, None
        if direct is None or (timeout is not None and timeout < WAIT_SECONDS):
            return timeout
        if timeout is None:
            direct.wait(self)
            return None
        start = time.monotonic()
        direct.wait(self)
        return timeout - (time.monotonic() - start)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Has a function called with this future once it has ended, on a thread of the executor."""
        self.has_callbacks = True
        super().add_done_callback(fn)

    def done(self) -> bool:
        """Whether the call has ended or was cancelled."""
        # Without the lock of the library's own, which tells no more: it is asked several times a call.
        return self._state in _ENDED

    def cancel(self) -> bool:
        """Cancels the call, also one that runs; False where it has ended by then.

        Unlike that of other executors this asks the service, and waits until the code has stopped.
        """
        return self.cancelled() or (not self.done() and self._executor._cancel(self))

    def running(self) -> bool:
        """Whether the call is being run now, as the service says."""
        return not self.done() and self.task_id is not None and self.status() == "RUNNING"

    def status(self) -> str:
        """Where the task stands, as the service says: QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED."""
        return self._executor._status(self._known_id())

    def record(self) -> TaskRecord:
        """Everything that the service knows of the task: times, attempts, worker, output, failure."""
        return self._executor._record(self._known_id())

    def stream(self) -> Iterator[TaskEvent]:
        """What the call writes and how far it has come, as it comes, up to its end.

            for event in future.stream():
                if event.kind == "stdout":
                    print(event.text, end="")

        What it wrote before is told too, as far as its worker still has it: the last 16 KiB of each stream.
        """
        return self._executor._stream(self._known_id())

    def files(self) -> dict[str, bytes]:
        """The files that the call has left, of those that `outputs` names, once it has ended; waits for that. One that
        failed may have left some too."""
        self.exception()
        return self._executor._files(self._known_id())

    def _known_id(self) -> str:
        if self.task_id is None:
            self._executor.flush()
        if self.task_id is None:
            raise RuntimeError("the call was never accepted, so that there is no task: see its exception")
        return self.task_id

    def ended_cancelled(self) -> None:
        """For the engine: the task was cancelled."""
        if super().cancel():
            self.set_running_or_notify_cancel()


def _described(future: Any, state: str) -> str:
    return f"of task {future.task_id}, {state}" if future.task_id else f"of a call that is being sent, {state}"


class AsyncFuture(_AsyncFuture[T]):
    """A call's future on an event loop: an `asyncio.Future` that knows its task."""

    has_callbacks = True

    def __init__(self, executor: AsyncExecutor, source: HasReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._executor = executor
        self.source = source
        self.task_id: Optional[str] = None

    def __repr__(self) -> str:
        return f"<belljar.AsyncFuture {_described(self, self._state.lower())} at {self._executor.url}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Future cannot be sent to a call; hint: await it and pass the result")

    def cancel(self, msg: Optional[Any] = None) -> bool:
        """Cancels the call: this future at once, the task on the service as soon as that hears of it."""
        is_cancelled = super().cancel() if msg is None else super().cancel(msg)
        if is_cancelled and self.task_id is not None:
            self._executor._cancel_soon(self.task_id)
        return is_cancelled

    async def status(self) -> str:
        """Where the task stands, as the service says."""
        return await self._executor._status(await self._known_id())

    async def record(self) -> TaskRecord:
        """Everything that the service knows of the task: times, attempts, worker, output, failure."""
        return await self._executor._record(await self._known_id())

    async def stream(self) -> AsyncIterator[TaskEvent]:
        """What the call writes and how far it has come, as it comes, up to its end: `async for`."""
        async for event in self._executor._stream(await self._known_id()):
            yield event

    async def files(self) -> dict[str, bytes]:
        """The files that the call has left, of those that `outputs` names, once it has ended; waits for that."""
        await asyncio.wait([self])
        return await self._executor._files(await self._known_id())

    async def _known_id(self) -> str:
        if self.task_id is None:
            await self._executor.flush()
        if self.task_id is None:
            raise RuntimeError("the call was never accepted, so that there is no task: see its exception")
        return self.task_id

    def set_exception(self, exception: Any) -> None:
        """For the engine: the function raised."""
        if isinstance(exception, StopIteration):  # Which no coroutine may raise.
            wrapped = RuntimeError("the function raised StopIteration")
            wrapped.__cause__ = exception
            exception = wrapped
        super().set_exception(exception)

    def ended_cancelled(self) -> None:
        """For the engine: the task was cancelled."""
        super().cancel()
