"""`@function`: a function that can also be called on the service."""

from __future__ import annotations

import functools
import operator
import sys
import threading
import types
from typing import Any, Callable, Generic, Iterable, Iterator, Mapping, Optional, TypeVar, Union, overload

from ._calls import Options
from ._executor import Executor
from ._future import Future
from ._values import Reference

if sys.version_info >= (3, 10):
    from typing import ParamSpec
else:
    from typing_extensions import ParamSpec

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")

_default: Optional[Executor] = None
_lock = threading.Lock()


def default_executor() -> Executor:
    """The executor of functions that name none; made when first asked for, at `BELLJAR_URL`."""
    global _default
    with _lock:
        if _default is None:
            _default = Executor()
        return _default


def set_default_executor(executor: Optional[Executor]) -> None:
    """Makes `executor` the one of functions that name none; with None the next use makes a new one."""
    global _default
    with _lock:
        _default = executor


def put(value: T) -> Reference[T]:
    """Uploads a value by the default executor and returns a reference to it: see `Executor.put`."""
    return default_executor().put(value)


class Function(Generic[P, R]):
    """A function that is called as usual, and on the service by `remote`, `spawn` and `map`."""

    def __init__(self, function: Callable[P, R], executor: Optional[Executor], options: Options) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._executor = executor
        self._options = options
        self._view: Optional[tuple[Executor, Executor]] = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls it on the service and waits for what it returns or raises."""
        return self.spawn(*args, **kwargs).result()

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Has it called on the service and returns the future."""
        return self._on().submit(self._function, *args, **kwargs)

    def map(
        self, *iterables: Iterable[Any], timeout: Optional[float] = None, buffersize: Optional[int] = None
    ) -> Iterator[R]:
        """The results for each item, or items, in order, as `Executor.map` has them."""
        return self._on().map(self._function, *iterables, timeout=timeout, buffersize=buffersize)

    def starmap(
        self, iterable: Iterable[Iterable[Any]], *, timeout: Optional[float] = None, buffersize: Optional[int] = None
    ) -> Iterator[R]:
        """Like `map`, with the arguments of each call as one tuple."""
        return self._on().starmap(self._function, iterable, timeout=timeout, buffersize=buffersize)

    def options(self, *, executor: Optional[Executor] = None, **changes: Any) -> Function[P, R]:
        """The same function on another executor or with other options, as `Executor.options` has them."""
        return Function(self._function, executor or self._executor, self._options.but(changes))

    def _on(self) -> Executor:
        executor = self._executor or default_executor()
        if self._view is None or self._view[0] is not executor:
            self._view = executor, executor.options(**self._options.given())
        return self._view[1]

    def __reduce__(self) -> Any:
        # To others it is the plain function, so that they need no belljar to call it.
        return operator.itemgetter(0), ((self._function,),)

    def __get__(self, instance: object, owner: Optional[type] = None) -> Any:
        # As a method it is called as one; on the service, instances are passed like any argument.
        return self if instance is None else types.MethodType(self, instance)


@overload
def function(function: Callable[P, R], /) -> Function[P, R]: ...


@overload
def function(
    *,
    executor: Optional[Executor] = ...,
    runtime: Optional[str] = ...,
    timeout: Optional[float] = ...,
    memory_mb: Optional[int] = ...,
    retries: Optional[int] = ...,
    priority: Optional[str] = ...,
    env: Iterable[str] = ...,
    read: Iterable[str] = ...,
    scratch_mb: int = ...,
    http: Iterable[str] = ...,
    labels: Mapping[str, str] = ...,
    requirements: Iterable[str] = ...,
    warm: Optional[str] = ...,
    results: Optional[str] = ...,
    allow: Iterable[type] = ...,
    py_modules: Iterable[Any] = ...,
) -> Callable[[Callable[P, R]], Function[P, R]]: ...


def function(
    function: Optional[Callable[P, R]] = None, /, *, executor: Optional[Executor] = None, **options: Any
) -> Union[Function[P, R], Callable[[Callable[P, R]], Function[P, R]]]:
    """Makes a function callable on the service; the decorator to write above it.

        @belljar.function(runtime="sandbox", timeout=5)
        def double(x):
            return 2 * x

        double(2)           # here
        double.remote(2)    # on the service
        double.spawn(2)     # the same, as a future

    The options mean what they mean to `Executor.options`.
    Without `executor` the default one is used, which `set_default_executor` sets.
    """
    chosen = Options().but(options)
    if function is None:
        return lambda wrapped: Function(wrapped, executor, chosen)
    return Function(function, executor, chosen)
