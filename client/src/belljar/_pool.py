"""What the executors share: their settings, and the functions that they have pickled."""

from __future__ import annotations

import os
import weakref
from typing import Any, Callable, Mapping, Optional, Union

from ._access import Access, Key
from ._calls import FunctionRef, Options
from ._errors import SerializationError
from ._graph import FutureFound, Unsent
from ._http import Address, Certificate
from ._pickling import PICKLERS, culprit, dump_call, dump_function, dump_graph, payload
from ._service import Service

DEFAULT_URL = "http://127.0.0.1:8000"


class Settings:
    """Where the service is and how it is spoken to."""

    def __init__(
        self,
        url: Optional[str],
        headers: Optional[Mapping[str, str]],
        connect_timeout: float,
        retry_timeout: float,
        key: Optional[Key] = None,
        ca: Optional[str] = None,
        cert: Optional[Certificate] = None,
    ) -> None:
        place = url or os.environ.get("BELLJAR_URL") or DEFAULT_URL
        self.address = Address(place, ca=ca, cert=cert or os.environ.get("BELLJAR_CERT"))
        self._access = Access(place, key, headers, self.address.show)
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout

    def service(self) -> Service:
        """The service, for one event loop."""
        timeouts = {"connect_timeout": self._connect_timeout, "retry_timeout": self._retry_timeout}
        return Service(self.address, self._access, **timeouts)


class FunctionRegistry:
    """Functions, pickled when they are first called and whenever they, or what they refer to, have changed."""

    def __init__(self, pickler: Optional[str]) -> None:
        if pickler is not None and pickler not in PICKLERS:
            raise ValueError(f"there is no pickler `{pickler}`: use one of {', '.join(PICKLERS)}")
        self._pickler = pickler
        self._refs: weakref.WeakKeyDictionary[Any, dict[Options, FunctionRef]] = weakref.WeakKeyDictionary()

    def prepare(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> tuple[FunctionRef, Union[str, bytes]]:
        """A function under these options, and the arguments of a call of it; `FutureFound` if they have futures."""
        if self._pickler is not None:
            return self._pickled_as_told(function, options.of_function, self._pickler), dump_call(args, kwargs)
        options = options.of_function
        ref = self._current(function, options)
        while True:
            graph = ref.graph
            assert graph is not None
            try:
                return ref, payload(graph.dump(args, kwargs))
            except Unsent as unsent:
                ref = self._make(function, options, (*graph.extras, unsent.thing))
            except FutureFound:
                raise
            except Exception as error:
                where = culprit(args, kwargs, graph.dump)
                raise SerializationError(f"the arguments cannot be pickled: {error}{where}") from error

    def _current(self, function: Callable[..., Any], options: Options) -> FunctionRef:
        try:
            ref = self._refs[function][options]
        except (KeyError, TypeError):
            return self._make(function, options, ())
        assert ref.graph is not None
        if ref.graph.watch.is_current(function):
            return ref
        return self._make(function, options, ref.graph.extras)

    def _make(self, function: Callable[..., Any], options: Options, extras: tuple[Any, ...]) -> FunctionRef:
        graph = dump_graph(_checked(function), extras, options.py_modules)
        ref = FunctionRef(_name(function), graph.pickled, options, graph)
        try:
            self._refs.setdefault(function, {})[options] = ref
        except TypeError:
            pass  # It cannot be referred to weakly, or not be hashed: pickled anew each time.
        return ref

    def _pickled_as_told(self, function: Callable[..., Any], options: Options, pickler: str) -> FunctionRef:
        return FunctionRef(_name(function), dump_function(_checked(function), pickler), options, None)


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"`{function!r}` cannot be called")
    return function


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
