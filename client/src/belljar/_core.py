"""What an executor and its views share: one engine on a thread of its own, started when needed."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import Any, AsyncIterator, Callable, Coroutine, Iterable, Iterator, NamedTuple, Optional, TypeVar

from ._client import Blocking, iterate
from ._engine import Engine
from ._future import Future
from ._loop import LoopThread
from ._pool import FunctionRegistry, Settings
from ._service import Service

T = TypeVar("T")


class _Running(NamedTuple):
    thread: LoopThread
    service: Service
    engine: Engine


class Core:
    """The engine of an executor, for its threads."""

    def __init__(self, settings: Settings, pickler: Optional[str]) -> None:
        self.settings = settings
        self.functions = FunctionRegistry(pickler)
        self._lock = threading.Lock()
        self._is_shut = False
        self._running: Optional[_Running] = None

    def engine(self) -> Engine:
        """The engine, ready to take calls."""
        running = self._running
        return (self._start() if running is None or self._is_shut else running).engine

    def _start(self) -> _Running:
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._running is None:
                thread, service = LoopThread("belljar-executor"), self.settings.service()
                engine = Engine(thread.loop, service, is_threaded=True)
                self._running = _Running(thread, service, engine)
                _flush_at_exit(self)
            return self._running

    def ask(self, work: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        """Asks the service and waits for the answer; also after the end."""
        running = self._running
        if running is not None:
            return running.thread.run(work(running.service))
        connection = Blocking(self.settings)
        try:
            return connection.run(work)
        finally:
            connection.close()

    def iterate(self, work: Callable[[Service], AsyncIterator[T]]) -> Iterator[T]:
        """What an iterator of the service gives, one after the other; also after the end."""
        running = self._running
        if running is not None:
            yield from iterate(running.thread, work(running.service))
            return
        connection = Blocking(self.settings)
        try:
            yield from connection.iterate(work)
        finally:
            connection.close()

    def watch(self, tasks: list[tuple[str, Future[Any]]]) -> list[Future[Any]]:
        """Collects the results of tasks that were submitted before."""

        async def watch(engine: Engine) -> None:
            for task_id, future in tasks:
                engine.watch(task_id, future)

        running = self._start()
        running.thread.run(watch(running.engine))
        return [future for _, future in tasks]

    def cancel(self, future: Future[Any]) -> bool:
        """Cancels a call and waits for that."""
        running = self._running
        return running is not None and running.thread.run(running.engine.cancel(future))

    def cancel_soon(self, futures: Iterable[Future[Any]]) -> None:
        """Cancels calls that nobody waits for any more."""
        running = self._running
        left = [future for future in futures if not future.done()]
        if running is None or not left:
            return

        def cancel() -> None:
            for future in left:
                if not future.done():
                    future.ended_cancelled()
                    if future.task_id is not None:
                        running.engine.cancel_soon(future.task_id)

        running.thread.loop.call_soon_threadsafe(cancel)

    def flush(self) -> None:
        """Waits until the service has accepted every call."""
        running = self._running
        if running is not None:
            running.thread.run(running.engine.flush())

    def shut(self, *, wait: bool, cancel_futures: bool) -> None:
        """Takes nothing more, and ends once everything has ended."""
        with self._lock:
            self._is_shut = True
        running = self._running
        if running is None:
            return
        if cancel_futures:
            running.thread.run(running.engine.cancel_all())
        if wait:
            running.thread.run(running.engine.drain())
            self.end()
        else:
            threading.Thread(target=self._end_later, args=(running,), name="belljar-shutdown", daemon=True).start()

    def _end_later(self, running: _Running) -> None:
        running.thread.run(running.engine.drain())
        self.end()

    def end(self) -> None:
        """Stops the thread and closes all connections, whatever is still open."""
        with self._lock:
            self._is_shut = True
            running, self._running = self._running, None
        if running is None:
            return
        closing = running.engine.close()
        if running.thread.is_current:  # A callback let go of the last reference.
            running.thread.loop.create_task(closing).add_done_callback(lambda _: running.thread.stop())
        else:
            running.thread.run(closing)
            running.thread.stop()


_live: weakref.WeakSet[Core] = weakref.WeakSet()


def _flush_at_exit(core: Core) -> None:
    """Has the calls of a core sent before the program ends: nobody may be waiting for them."""
    if not _live:
        atexit.unregister(_flush_all)
        atexit.register(_flush_all)
    _live.add(core)


def _flush_all() -> None:
    for core in list(_live):
        core.flush()
