"""Calls whose arguments are futures, or hold some: kept here until those have ended, then sent with their results."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Optional

from ._calls import Call, Options
from ._graph import FutureFound
from ._trace import span_headers

if TYPE_CHECKING:
    from ._engine import Engine
    from ._future import Future
    from ._pool import FunctionRegistry


class Held:
    """One such call. Who ends the last future sends it; no thread waits."""

    def __init__(
        self,
        engine: Engine,
        functions: FunctionRegistry,
        call: tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]],
        options: Options,
        future: Future[Any],
    ) -> None:
        self._engine = engine
        self._functions = functions
        self._call = call
        self._options = options
        self._future = future
        self._headers = span_headers()
        self._lock = threading.Lock()
        self._left = 0

    def begin(self, awaited: list[concurrent.futures.Future[Any]]) -> None:
        """Waits for these futures."""
        self._engine.hold(self._future)
        self._left = len(awaited)
        for future in awaited:
            future.add_done_callback(self._when_ended)

    def _when_ended(self, ended: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if ended.cancelled():
            self._future.ended_cancelled()
            self._engine.release(self._future)
        elif ended.exception() is not None:
            self._fail(ended.exception())
        elif is_last and not self._future.done():
            self._send()

    def _send(self) -> None:
        function, args, kwargs = self._call
        try:
            ref, payload = self._functions.prepare(function, _filled(args), _filled(kwargs), self._options)
            self._future.source = ref
            self._engine.add(Call(self._future, ref, payload, self._options, self._headers))
            self._engine.release(self._future)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Optional[BaseException]) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # Cancelled, or another has failed.
            self._future.set_exception(error)
        self._engine.release(self._future)


def awaited(arguments: Any) -> list[concurrent.futures.Future[Any]]:
    """The futures in lists, tuples, sets and dictionaries, each once."""
    found = {id(future): future for future in _search(arguments, set())}
    if not found:
        raise FutureFound(f"{FutureFound.SENTENCE}, or put it into a list, tuple, set or dictionary")
    return list(found.values())


def _search(value: Any, seen: set[int]) -> Iterator[concurrent.futures.Future[Any]]:
    if isinstance(value, concurrent.futures.Future):
        yield value
    elif _is_container(value) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if type(value) is dict else value:
            yield from _search(item, seen)


def _is_container(value: Any) -> bool:
    return type(value) in (list, tuple, set, frozenset, dict) or (isinstance(value, tuple) and hasattr(value, "_fields"))


def _filled(value: Any) -> Any:
    """The same with results in place of futures; what holds none stays the object that it is."""
    if isinstance(value, concurrent.futures.Future):
        return value.result()
    if not _is_container(value) or not any(True for _ in _search(value, set())):
        return value
    if type(value) is dict:
        return {key: _filled(item) for key, item in value.items()}
    items = [_filled(item) for item in value]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
