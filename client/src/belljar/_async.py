"""`AsyncExecutor`: the same for an event loop, without a thread."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Any, AsyncIterator, Callable, Iterable, Mapping, Optional, TypeVar

from ._access import Key
from ._calls import Call, Options, Reattached
from ._engine import Engine
from ._future import AsyncFuture
from ._http import Certificate
from ._pool import FunctionRegistry, Settings
from ._records import TaskEvent, TaskRecord
from ._service import Service
from ._session import AsyncSession, opening
from ._stream import follow
from ._trace import span_headers
from ._values import Reference, dump_value, sha256

T = TypeVar("T")


class AsyncExecutor:
    """Runs functions on a belljar service from a coroutine.

        async with belljar.AsyncExecutor() as executor:
            print(await executor.submit(pow, 2, 10))

    The arguments are those of `Executor`. It belongs to the event loop on which it is first used, and
    must be used from there.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        runtime: Optional[str] = None,
        timeout: Optional[float] = None,
        memory_mb: Optional[int] = None,
        retries: Optional[int] = None,
        pickler: Optional[str] = None,
        key: Optional[Key] = None,
        ca: Optional[str] = None,
        cert: Optional[Certificate] = None,
        headers: Optional[Mapping[str, str]] = None,
        connect_timeout: float = 10.0,
        retry_timeout: float = 300.0,
        results: Optional[str] = None,
        allow: Iterable[type] = (),
        py_modules: Iterable[Any] = (),
    ) -> None:
        self._core = _AsyncCore(Settings(url, headers, connect_timeout, retry_timeout, key, ca, cert), pickler)
        given = {"runtime": runtime, "timeout": timeout, "memory_mb": memory_mb, "retries": retries}
        self._options = Options().but({**given, "results": results, "allow": allow, "py_modules": py_modules})

    @property
    def url(self) -> str:
        """The service's address."""
        return self._core.service.url

    def options(self, **changes: Any) -> AsyncExecutor:
        """This executor with other options, as `Executor.options` has them."""
        view = AsyncExecutor.__new__(AsyncExecutor)
        view._core, view._options = self._core, self._options.but(changes)
        return view

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> AsyncFuture[T]:
        """Calls `fn(*args, **kwargs)` on the service and returns its future, to be awaited."""
        core = self._core
        engine = core.engine()
        function, payload = core.functions.prepare(fn, args, kwargs, self._options)
        future: AsyncFuture[T] = AsyncFuture(self, function, asyncio.get_running_loop())
        engine.add(Call(future, function, payload, self._options, span_headers()))
        return future

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], buffersize: Optional[int] = None
    ) -> AsyncIterator[T]:
        """The results of `fn` for each item, or items, in order: `async for`.

        All calls are submitted at once, or `buffersize` ahead of the results.
        """
        return self.starmap(fn, zip(*iterables), buffersize=buffersize)

    async def starmap(
        self, fn: Callable[..., T], iterable: Iterable[Iterable[Any]], *, buffersize: Optional[int] = None
    ) -> AsyncIterator[T]:
        """Like `map`, with the arguments of each call as one tuple."""
        calls = (self.submit(fn, *args) for args in iterable)
        futures = deque(itertools.islice(calls, buffersize))
        try:
            while futures:
                result = await futures[0]
                futures.popleft()
                futures.extend(itertools.islice(calls, 1))
                # Held by nobody here while the caller works with it.
                last = [result]
                del result
                yield last.pop()
        finally:
            for future in futures:
                future.cancel()

    async def put(self, value: T) -> Reference[T]:
        """Uploads a value and returns a reference to it, as `Executor.put` does."""
        pickled = dump_value(value)
        digest = await asyncio.get_running_loop().run_in_executor(None, sha256, pickled)
        self._core.engine()
        return Reference(f"blob:{await self._core.service.upload(pickled, digest)}")

    def session(
        self,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        memory_mb: Optional[int] = None,
        ttl: Optional[float] = None,
        python: Optional[str] = None,
        id: Optional[str] = None,
    ) -> AsyncSession:
        """A session, as `Executor.session` has it: `async with executor.session() as session`, or `await executor.session()`."""
        request = opening(id, name=name, timeout=timeout, memory_mb=memory_mb, ttl=ttl, python=python)
        return AsyncSession(self, request)

    def reattach(self, task_ids: Iterable[str]) -> list[AsyncFuture[Any]]:
        """Futures of tasks that were submitted before, also by another process."""
        engine, loop = self._core.engine(), asyncio.get_running_loop()
        source = Reattached(self._options)
        futures: list[AsyncFuture[Any]] = []
        for task_id in task_ids:
            future: AsyncFuture[Any] = AsyncFuture(self, source, loop)
            engine.watch(task_id, future)
            futures.append(future)
        return futures

    async def flush(self) -> None:
        """Waits until the service has accepted every call submitted so far: then each has its task id."""
        if self._core.started is not None:
            await self._core.started.flush()

    async def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls. With `wait`, returns once all have ended; without, calls that have not ended
        go on, but nobody collects their results. `cancel_futures` cancels them."""
        core = self._core
        core.is_shut = True
        if core.started is None:
            return
        if cancel_futures:
            await core.started.cancel_all()
        if wait:
            await core.started.drain()
        else:
            await core.started.flush()
        await core.started.close()

    async def __aenter__(self) -> AsyncExecutor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    def __repr__(self) -> str:
        options = "".join(f" {name}={value!r}" for name, value in self._options.given().items())
        return f"<belljar.AsyncExecutor at {self.url}{options}>"

    # For sessions and futures.

    async def _ask(self, method: str, path: str, body: Optional[bytes]) -> Any:
        self._core.engine()
        return await self._core.service.ask(method, path, body)

    def _cancel_soon(self, task_id: str) -> None:
        if self._core.started is not None:
            self._core.started.cancel_soon(task_id)

    async def _status(self, task_id: str) -> str:
        return await self._core.service.status(task_id)

    def _stream(self, task_id: str) -> AsyncIterator[TaskEvent]:
        return follow(self._core.service, task_id)

    async def _files(self, task_id: str) -> dict[str, bytes]:
        return await self._core.service.files(task_id)

    async def _record(self, task_id: str) -> TaskRecord:
        return TaskRecord.of(await self._core.service.record(task_id))


class _AsyncCore:
    """What an executor and its views share."""

    def __init__(self, settings: Settings, pickler: Optional[str]) -> None:
        self.functions = FunctionRegistry(pickler)
        self.service: Service = settings.service()
        self.started: Optional[Engine] = None
        self.is_shut = False

    def engine(self) -> Engine:
        """The engine, ready to take calls."""
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self.started is None:
            self.started = Engine(asyncio.get_running_loop(), self.service, is_threaded=False)
        return self.started
