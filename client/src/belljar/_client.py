"""`Client`: the service's tasks, functions and workers, for programs that look at them."""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Iterator, Mapping, Optional, TypeVar

from ._http import Certificate
from ._loop import LoopThread
from ._pool import Settings
from ._records import TaskRecord
from ._service import Service

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
        key: Optional[str] = None,
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
        if self._open is None:
            self._open = LoopThread("belljar-client"), self._settings.service()
        thread, service = self._open
        return thread.run(work(service))

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        if self._open is not None:
            (thread, service), self._open = self._open, None
            thread.run(_close(service))
            thread.stop()


async def _close(service: Service) -> None:
    service.close()
