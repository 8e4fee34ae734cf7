"""`Executor`: the service as a pool of the standard library."""

from __future__ import annotations

import concurrent.futures
import itertools
import time
import weakref
from collections import deque
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, TypeVar

from ._access import Key
from ._calls import Call, Options, Reattached
from ._core import Core
from ._engine import Engine
from ._future import Future
from ._graph import FutureFound
from ._held import Held, awaited
from ._http import Certificate
from ._pool import Settings
from ._reading import TRUSTED, Reader
from ._records import TaskEvent, TaskRecord
from ._session import Session, opening
from ._stream import follow
from ._trace import span_headers
from ._values import Reference, dump_value, sha256, shared

T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Runs functions on a belljar service: a `concurrent.futures.Executor`.

        with belljar.Executor() as executor:
            print(executor.submit(pow, 2, 10).result())

    `url` is the service's address; without it the variable `BELLJAR_URL`, else `http://127.0.0.1:8000`.
    `runtime` ("native" or "sandbox"), `timeout` in seconds, `memory_mb` and `retries` are what functions
    are registered with; what is not given is the service's to say.
    `key` is shown with every request, a key or a token; without it the one in the variable `BELLJAR_KEY`, in the file
    that `BELLJAR_KEY_FILE` names, or that the command in `BELLJAR_KEY_COMMAND` prints, else the one that the
    file `~/.config/belljar/keys` has for this address. It may also be a callable that returns one. What is no plain text is
    asked again when the service refuses the last answer: so tokens that end are renewed, and no call fails for it. `ca` is a file with the certificates of the authority that
    a service's own certificate comes from, where the system does not know it. `cert` is a certificate of your
    own that stands for a key: a PEM file with it and its private key, or the two files; without it the file that the
    variable `BELLJAR_CERT` names. `headers` are sent with every request, for a proxy that authenticates.

    `results` says how results are read: "trusted" ones as any pickle, "safe" ones as data, from which no
    code runs: plain values, Python's own exceptions, common types of the standard library, numpy arrays, and
    instances of classes that were sent with the call. Results of native calls are trusted, those of sandboxed
    calls are read safely, unless it is given; `allow` has classes that are loaded all the same. `py_modules`
    (modules or their names) travel along beside those in the script's folder, which do by themselves.

    A service that does not answer, as during a restart, is asked again for `retry_timeout` seconds; only
    then do futures fail with `ServiceUnreachable`. A call is accepted once, however often it was sent.

    Making an executor does nothing yet: the first call starts its one thread. Callbacks of futures run on
    that thread and must not wait for the service. At the end of the program calls that have not been sent
    yet are; their results are not waited for.
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
        self._core = Core(Settings(url, headers, connect_timeout, retry_timeout, key, ca, cert), pickler)
        given = {"runtime": runtime, "timeout": timeout, "memory_mb": memory_mb, "retries": retries}
        self._options = Options().but({**given, "results": results, "allow": allow, "py_modules": py_modules})
        self._original: Optional[Executor] = None
        # Who forgets an executor gets its thread and connections back, once no future needs them.
        weakref.finalize(self, self._core.end).atexit = False

    @property
    def url(self) -> str:
        """The service's address."""
        return self._core.settings.address.url

    def options(self, **changes: Any) -> Executor:
        """This executor with other options: `runtime`, `timeout`, `memory_mb`, `retries`, and for its calls
        `priority` ("high", "normal" or "low"), `delay` in seconds and `idempotency_key`.

        `results`, `allow` and `py_modules` are those of `Executor`.

        `env` (names of variables), `read` (directories), `scratch_mb` (of a writable `/tmp`) and `http` (requests such as
        `"GET https://api.example.com/v1/*"`) are what its functions may reach, if the worker offers it; a call that is not
        offered it ends as `SandboxDenied`.

        `labels`, such as `{"gpu": "a100"}`, are what the workers of its functions must have; where no live worker has them,
        calls fail at once.

        `requirements`, such as `["jinja2==3.1.4"]`, are packages that its functions import, where the service offers a package index.

        `warm` says whether its functions start with their modules imported in the sandbox: "auto", where that saves more than it
        costs, "always", where it is possible at all, or "never". `Future.record().start` tells of a call.

        `files` are there in the call's working directory: names, and for each bytes, a text, or the `pathlib.Path` of a
        file here. `outputs` are patterns such as `"*.png"` or `"out/**/*.csv"`: files there that fit come back by `Future.files`.

        `keep=True` leaves what its calls return with the service: their futures have a `Reference` to it as their result.

        It shares everything else with this one, and ends with it.
        """
        view = Executor.__new__(Executor)
        view._core, view._options = self._core, self._options.but(changes)
        view._original = self._original or self
        return view

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Calls `fn(*args, **kwargs)` on the service and returns its future.

        What cannot be pickled is refused here, with a `SerializationError`; the future tells of everything
        else that goes wrong. The function travels with what it refers to, as it is now: its helpers, globals
        and classes by value, and the modules beside the script. An instance of a class of the script is one of
        the same class in the call, and a returned one is of the class here.

        A future among the arguments, also in lists, tuples, sets and dictionaries, stands for its result: the call
        is sent once all such have ended. It fails with the first of them that fails, and is cancelled with one.
        """
        engine = self._core.engine()
        try:
            function, payload = self._core.functions.prepare(fn, args, kwargs, self._options)
        except FutureFound:
            return self._hold(engine, fn, args, kwargs)
        future: Future[T] = Future(self, function)
        future._direct = engine.add(Call(future, function, payload, self._options, span_headers()))
        return future

    def _hold(self, engine: Engine, fn: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Future[T]:
        functions, futures = self._core.functions, awaited((args, kwargs))
        functions.prepare(fn, (), {}, self._options)  # What cannot be pickled is refused here.
        held: Future[T] = Future(self)
        Held(engine, functions, (fn, args, kwargs), self._options, held).begin(futures)
        return held

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: Optional[float] = None,
        chunksize: int = 1,
        buffersize: Optional[int] = None,
    ) -> Iterator[T]:
        """The results of `fn` for each item, or items, in order; raises the first exception.

        All calls are submitted at once, or `buffersize` ahead of the results. `chunksize` is there for the
        standard library's sake: calls travel in batches anyway. What is left when the iterator is closed
        is cancelled. A large argument that is the same in all calls, as by `itertools.repeat`, is sent once.
        """
        return self.starmap(fn, zip(*shared(iterables, self.put)), timeout=timeout, buffersize=buffersize)

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        *,
        timeout: Optional[float] = None,
        buffersize: Optional[int] = None,
    ) -> Iterator[T]:
        """Like `map`, with the arguments of each call as one tuple."""
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize is {buffersize}: it must be at least 1")
        end = None if timeout is None else time.monotonic() + timeout
        calls = (self.submit(fn, *args) for args in iterable)
        return self._results(deque(itertools.islice(calls, buffersize)), calls, end)

    def _results(self, futures: deque[Future[T]], more: Iterator[Future[T]], end: Optional[float]) -> Iterator[T]:
        try:
            while futures:
                futures[0].result(None if end is None else end - time.monotonic())
                future = futures.popleft()
                futures.extend(itertools.islice(more, 1))
                # Held by nobody here while the caller works with it.
                last = [future.result()]
                del future
                yield last.pop()
        finally:
            self._core.cancel_soon(futures)

    def put(self, value: T) -> Reference[T]:
        """Uploads a value and returns a reference to it: arguments may be that, or hold it anywhere, and calls get the value.

        A value that is there already is not sent again.
        """
        pickled = dump_value(value)
        digest = sha256(pickled)
        return Reference(f"blob:{self._core.ask(lambda service: service.upload(pickled, digest))}", self)

    def get(self, reference: Reference[T]) -> T:
        """The value that a reference refers to."""
        kind, _, name = reference.id.partition(":")
        source = reference._source or Reattached(self._options)
        if kind == "blob":
            pickled = self._core.ask(lambda service: service.download(name))
            return Reader(self._options.results or TRUSTED, self._options.allow).read(pickled)  # type: ignore[no-any-return]
        ended = self._core.ask(lambda service: service.results([name], 0.0))
        if not ended or ended[0]["status"] != "COMPLETED":
            raise ValueError(f"task {name} has no result: it is {self._status(name)}")
        return source.reader().read(ended[0]["result"])  # type: ignore[no-any-return]

    def _delete(self, reference: Reference[Any]) -> None:
        kind, _, name = reference.id.partition(":")
        if kind != "blob":
            raise ValueError("the result of a task goes with its record")
        self._core.ask(lambda service: service.delete_value(name))

    def session(
        self,
        *,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        memory_mb: Optional[int] = None,
        ttl: Optional[float] = None,
        python: Optional[str] = None,
        id: Optional[str] = None,
    ) -> Session:
        """Makes a session: its calls, in the sandbox, go on where the one before has ended. It is kept for `ttl` seconds after its last
        call, an hour unless given. `python` is the one of its calls, this one's minor unless given. With `id` it is one that was made before."""
        request = opening(id, name=name, timeout=timeout, memory_mb=memory_mb, ttl=ttl, python=python)
        made = self._core.ask(lambda service: service.ask(*request))
        return Session(self, made["session_id"], made["python"])

    def reattach(self, task_ids: Iterable[str]) -> list[Future[Any]]:
        """Futures of tasks that were submitted before, also by another process."""
        source = Reattached(self._options)
        return self._core.watch([(task_id, Future(self, source)) for task_id in task_ids])

    def flush(self) -> None:
        """Waits until the service has accepted every call submitted so far: then each has its task id."""
        self._core.flush()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; with `wait`, returns once all have ended. `cancel_futures` cancels those that
        have not, also those that run."""
        self._core.shut(wait=wait, cancel_futures=cancel_futures)

    def __repr__(self) -> str:
        options = "".join(f" {name}={value!r}" for name, value in self._options.given().items())
        return f"<belljar.Executor at {self.url}{options}>"

    # For futures.

    def _cancel(self, future: Future[Any]) -> bool:
        return self._core.cancel(future)

    def _status(self, task_id: str) -> str:
        return self._core.ask(lambda service: service.status(task_id))

    def _stream(self, task_id: str) -> Iterator[TaskEvent]:
        return self._core.iterate(lambda service: follow(service, task_id))

    def _files(self, task_id: str) -> dict[str, bytes]:
        return self._core.ask(lambda service: service.files(task_id))

    def _record(self, task_id: str) -> TaskRecord:
        return TaskRecord.of(self._core.ask(lambda service: service.record(task_id)))
