"""`Client`: the service's tasks, functions and workers, for programs that look at them."""

from __future__ import annotations

import contextlib
from typing import Any, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Optional, TypeVar

from ._access import Key
from ._http import Certificate
from ._loop import LoopThread
from ._pool import Settings
from ._records import TaskEvent, TaskRecord
from ._service import Service
from ._stream import follow

T = TypeVar("T")


class Client:
    """Looks at what a service has: tasks, functions, workers; and cancels tasks.

        with belljar.Client() as client:
            for task in client.tasks(status="FAILED"):
                print(task["task_id"])

    The arguments are those of `Executor`.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        key: Optional[Key] = None,
        ca: Optional[str] = None,
        cert: Optional[Certificate] = None,
        headers: Optional[Mapping[str, str]] = None,
        connect_timeout: float = 10.0,
        retry_timeout: float = 30.0,
    ) -> None:
        self._connection = Blocking(Settings(url, headers, connect_timeout, retry_timeout, key, ca, cert))

    def record(self, task_id: str) -> TaskRecord:
        """Everything about one task."""
        return TaskRecord.of(self._connection.run(lambda service: service.record(task_id)))

    def status(self, task_id: str, wait: float = 0.0) -> str:
        """Where a task stands; with `wait`, once it has ended or after so many seconds."""
        return self._connection.run(lambda service: service.status(task_id, wait))

    def stream(self, task_id: str) -> Iterator[TaskEvent]:
        """What a task writes and how far it has come, as it comes, up to its end; see `Future.stream`."""
        return self._connection.iterate(lambda service: follow(service, task_id))

    def cancel(self, task_id: str) -> str:
        """Cancels a task and returns the status that it has then: another than CANCELLED if it had ended."""
        return self._connection.run(lambda service: service.cancel(task_id))

    def tasks(
        self, *, status: Optional[str] = None, function_id: Optional[str] = None
    ) -> Iterator[dict[str, Any]]:
        """The tasks, newest first."""
        return self._items("/v1/tasks", status=status, function_id=function_id)

    def functions(self) -> Iterator[dict[str, Any]]:
        """The registered functions, newest first."""
        return self._items("/v1/functions")

    def function(self, function_id: str) -> dict[str, Any]:
        """One registered function."""
        return self._connection.run(lambda service: service.page(f"/v1/functions/{function_id}"))

    def workers(self) -> Iterator[dict[str, Any]]:
        """The workers, newest first."""
        return self._items("/v1/workers")

    def _items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            page = self._connection.run(lambda service: service.page(path, cursor=cursor, **query))
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def close(self) -> None:
        """Closes the connections."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Blocking:
    """A service, spoken to by threads that wait for each answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: Optional[tuple[LoopThread, Service]] = None

    def run(self, work: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        """Does something with the service and waits for it."""
        thread, service = self._opened()
        return thread.run(work(service))

    def iterate(self, work: Callable[[Service], AsyncIterator[T]]) -> Iterator[T]:
        """What an iterator of the service gives, one after the other."""
        thread, service = self._opened()
        return iterate(thread, work(service))

    def _opened(self) -> tuple[LoopThread, Service]:
        if self._open is None:
            self._open = LoopThread("belljar-client"), self._settings.service()
        return self._open

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        if self._open is not None:
            (thread, service), self._open = self._open, None
            thread.run(_close(service))
            thread.stop()


def iterate(thread: LoopThread, items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an iterator that belongs to a loop on another thread."""

    async def following() -> Optional[tuple[T]]:
        async for item in items:
            return (item,)
        return None

    try:
        while (found := thread.run(following())) is not None:
            yield found[0]
    finally:
        with contextlib.suppress(RuntimeError):  # The thread has ended, and the connection with it.
            thread.run(items.aclose())  # type: ignore[attr-defined]


async def _close(service: Service) -> None:
    service.close()
