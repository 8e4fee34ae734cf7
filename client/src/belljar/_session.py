"""Sessions: calls that go on where the one before has ended."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, TypeVar

from ._calls import Call, FunctionRef
from ._future import Future
from ._pickling import dump_call
from ._trace import span_headers

if TYPE_CHECKING:
    from ._executor import Executor

T = TypeVar("T")

# Part of every guest: it runs a source text in the session's `__main__`.
_RUN = b"cbelljar_session\nrun\n."


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
        executor = self._executor
        function = FunctionRef("session.run", _RUN, executor._options.of_function, None)
        function.fields["python"] = self._python
        future: Future[Any] = Future(executor, function)
        call = Call(future, function, dump_call((source,), {}), executor._options, span_headers())
        future._direct = executor._core.engine().add(call)
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
