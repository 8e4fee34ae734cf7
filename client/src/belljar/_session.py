"""Sessions: calls that go on where the one before has ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import math
from typing import TYPE_CHECKING, Any, Callable, Generator, Mapping, Optional, TypeVar, Union

from ._calls import Call, FunctionRef, Options
from ._future import AsyncFuture, Future
from ._pickling import dump_call
from ._records import own_python
from ._trace import span_headers

if TYPE_CHECKING:
    from ._async import AsyncExecutor
    from ._executor import Executor

T = TypeVar("T")

# Part of every guest: it runs a source text in the session's `__main__`.
_RUN = b"cbelljar_session\nrun\n."

# Method, path and body of a request.
_Request = tuple[str, str, Optional[bytes]]


def opening(
    id: Optional[str],
    *,
    name: Optional[str],
    timeout: Optional[float],
    memory_mb: Optional[int],
    ttl: Optional[float],
    python: Optional[str],
) -> _Request:
    """The request that makes a session, or finds the one with an id."""
    if id is not None:
        return "GET", f"/v1/sessions/{id}", None
    fields = {"name": name, "timeout_s": timeout, "memory_mb": memory_mb, "ttl_s": ttl and math.ceil(ttl), "python": python or own_python()}
    return "POST", "/v1/sessions", json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _run(options: Options, python: str) -> FunctionRef:
    """The function that runs a source text in a session."""
    function = FunctionRef("session.run", _RUN, options.of_function, None)
    function.fields["python"] = python
    return function


def _call(future: Union[Future[Any], AsyncFuture[Any]], function: FunctionRef, source: str, options: Options) -> Call:
    return Call(future, function, dump_call((source,), {}), options, span_headers())


class Session:
    """Calls in the sandbox that go on where the one before has ended: names in `__main__`, imported modules and the files in `/tmp`
    are there in the next. `Executor.session` makes it.

        with executor.session() as session:
            session.run("import math; x = 2")
            session.run("math.sqrt(x)")      # 1.4142135623730951
            session.submit(work, 3)          # finds `x` as a global

    Calls run one after the other, in the order in which they were submitted, on any worker. One that raises leaves what it has done up to
    there; one that the platform ends (by a limit, a cancel, the death of a worker) leaves everything as it was before.

    At the end of a `with` its calls are waited for, and the session is deleted. `id` finds it again: `Executor.session(id=...)`.
    """

    def __init__(self, executor: Executor, session_id: str, python: str) -> None:
        self.id = session_id
        self._python = python
        self._executor = executor.options(runtime="sandbox", session=session_id)
        self._open: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Calls `fn(*args, **kwargs)` once the calls before have ended, and returns its future."""
        return self._keep(self._executor.submit(fn, *args, **kwargs))

    def submit_source(self, source: str) -> Future[Any]:
        """Has statements run, and returns the future of what `run` would return."""
        executor, function = self._executor, _run(self._executor._options, self._python)
        future: Future[Any] = Future(executor, function)
        future._direct = executor._core.engine().add(_call(future, function, source, executor._options))
        return self._keep(future)

    def run(self, source: str, timeout: Optional[float] = None) -> Any:
        """Runs statements. Returns the value of the last one if that is an expression: plain data and numpy arrays as they are, of
        anything else its `repr`."""
        return self.submit_source(source).result(timeout)

    def fork(self) -> Session:
        """Another session, with what the last call has left that has ended. Each goes its own way."""
        self._executor.flush()
        made = self._ask("POST", f"/v1/sessions/{self.id}/fork")
        return Session(self._executor, made["session_id"], self._python)

    def record(self) -> Mapping[str, Any]:
        """What the service knows of it: its calls, the bytes that it takes, when it expires."""
        record: Mapping[str, Any] = self._ask("GET", f"/v1/sessions/{self.id}")
        return record

    def close(self) -> None:
        """Deletes the session. Calls that wait are cancelled."""
        self._executor.flush()
        self._ask("DELETE", f"/v1/sessions/{self.id}")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        concurrent.futures.wait(list(self._open))
        self.close()

    def __repr__(self) -> str:
        return f"<belljar.Session {self.id}>"

    def _keep(self, future: Future[T]) -> Future[T]:
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def _ask(self, method: str, path: str) -> Any:
        return self._executor._core.ask(lambda service: service.ask(method, path))


class AsyncSession:
    """The same as `Session` for an event loop. `AsyncExecutor.session` makes it: at the begin of an `async with`, or when it is awaited.

        async with executor.session() as session:
            await session.run("import math; x = 2")
            await session.run("math.sqrt(x)")      # 1.4142135623730951

    `id` is there from then on.
    """

    def __init__(self, executor: AsyncExecutor, opening: _Request) -> None:
        self.id = ""
        self._python = ""
        self._opening = opening
        self._maker = self._executor = executor
        self._open: set[AsyncFuture[Any]] = set()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> AsyncFuture[T]:
        """Calls `fn(*args, **kwargs)` once the calls before have ended, and returns its future."""
        return self._keep(self._made().submit(fn, *args, **kwargs))

    def submit_source(self, source: str) -> AsyncFuture[Any]:
        """Has statements run, and returns the future of what `run` would return."""
        executor = self._made()
        function = _run(executor._options, self._python)
        future: AsyncFuture[Any] = AsyncFuture(executor, function, asyncio.get_running_loop())
        executor._core.engine().add(_call(future, function, source, executor._options))
        return self._keep(future)

    async def run(self, source: str) -> Any:
        """Runs statements, as `Session.run` does."""
        return await self.submit_source(source)

    async def fork(self) -> AsyncSession:
        """Another session, with what the last call has left that has ended. Each goes its own way."""
        await self._made().flush()
        return await AsyncSession(self._maker, ("POST", f"/v1/sessions/{self.id}/fork", None))

    async def record(self) -> Mapping[str, Any]:
        """What the service knows of it: its calls, the bytes that it takes, when it expires."""
        record: Mapping[str, Any] = await self._made()._ask("GET", f"/v1/sessions/{self.id}", None)
        return record

    async def close(self) -> None:
        """Deletes the session. Calls that wait are cancelled."""
        await self._made().flush()
        await self._executor._ask("DELETE", f"/v1/sessions/{self.id}", None)

    def __await__(self) -> Generator[Any, None, AsyncSession]:
        return self._make().__await__()

    async def __aenter__(self) -> AsyncSession:
        # A fork is made already.
        return self if self.id else await self._make()

    async def __aexit__(self, *_: object) -> None:
        if self._open:
            await asyncio.wait(list(self._open))
        await self.close()

    def __repr__(self) -> str:
        return f"<belljar.AsyncSession {self.id or 'not made yet'}>"

    async def _make(self) -> AsyncSession:
        made = await self._maker._ask(*self._opening)
        self.id, self._python = made["session_id"], made["python"]
        self._executor = self._maker.options(runtime="sandbox", session=self.id)
        return self

    def _made(self) -> AsyncExecutor:
        if not self.id:
            raise RuntimeError("the session is not made yet; hint: `async with executor.session() as session`, or await it")
        return self._executor

    def _keep(self, future: AsyncFuture[T]) -> AsyncFuture[T]:
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future
