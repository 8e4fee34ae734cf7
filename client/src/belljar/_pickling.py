"""Functions and arguments as text that the service takes.

Usually they are pickled as one graph (`_graph.py`). Where the caller names a pickler they are what that makes of
them; plain data goes to pickle in C, which writes what dill would, ten times as fast.
"""

from __future__ import annotations

import logging
import pickle
import types
import warnings
from binascii import b2a_base64
from typing import Any, Callable, Iterable, Mapping, Optional, Union

import cloudpickle
import dill

from ._arrays import ARRAY_PROTOCOL, PROTOCOL, dump_probe
from ._errors import SerializationError
from ._graph import FutureFound, Graph
from ._packed import BINARY_BYTES, in_frames
from ._values import ReferenceFound, dump_referring

# A function larger than this most likely drags something along that it was not meant to.
LARGE_FUNCTION_BYTES = 1 << 20
PICKLERS = ("dill", "cloudpickle")
_LOG = logging.getLogger("belljar")


def dump_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Union[str, bytes]:
    """The arguments of a call."""
    try:
        pickled, has_arrays = dump_probe((args, kwargs))
        is_plain = not in_frames(pickled, b"__main__")
        if is_plain and has_arrays:
            pickled = pickle.dumps((args, kwargs), ARRAY_PROTOCOL)
    except Exception:
        is_plain = False
    if not is_plain:
        try:
            pickled = _dill_dumps((args, kwargs))
        except FutureFound:
            raise
        except ReferenceFound:
            pickled = dump_referring((args, kwargs), PROTOCOL)
        except Exception as error:
            raise SerializationError(f"the arguments cannot be pickled: {error}{culprit(args, kwargs, _dump_pair)}") from error
    return payload(pickled)


def dump_function(function: Callable[..., Any], pickler: str) -> bytes:
    """The pickle of a function, with what it refers to."""
    try:
        pickled = _dump_by(pickler, function)
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise SerializationError(f"`{name}` cannot be pickled: {error}") from error
    if len(pickled) > LARGE_FUNCTION_BYTES:
        warnings.warn(_large(function, len(pickled)), stacklevel=5)
    return pickled


def dump_graph(function: Callable[..., Any], extras: tuple[Any, ...], py_modules: tuple[str, ...]) -> Graph:
    """A function with what it refers to, for calls whose arguments share that."""
    try:
        graph = Graph(function, extras, py_modules)
    except Exception as error:
        name = getattr(function, "__qualname__", repr(function))
        raise SerializationError(f"`{name}` cannot be pickled: {error}") from error
    if graph.sources:
        name = getattr(function, "__qualname__", repr(function))
        listed = ", ".join(f"{module} ({len(source.text)} B)" for module, source in sorted(graph.sources.items()))
        _LOG.info("`%s` takes modules along: %s", name, listed)
    if len(graph.pickled) > LARGE_FUNCTION_BYTES:
        warnings.warn(_large(function, len(graph.pickled), graph), stacklevel=6)
    return graph


def encode(pickled: bytes) -> str:
    """Pickled bytes as text without line breaks, which JSON would have to escape."""
    return b2a_base64(pickled, newline=False).decode("ascii")


def payload(pickled: bytes) -> Union[str, bytes]:
    """Pickled bytes as they travel: as they are where they are not small, else as text."""
    return pickled if len(pickled) >= BINARY_BYTES else encode(pickled)


def _dump_by(pickler: str, function: Callable[..., Any]) -> bytes:
    if pickler == "cloudpickle":
        return bytes(cloudpickle.dumps(function, protocol=PROTOCOL))
    if pickler == "dill":
        return _dill_dumps(function)
    raise ValueError(f"there is no pickler `{pickler}`: use one of {', '.join(PICKLERS)}")


def _dill_dumps(value: Any) -> bytes:
    """By dill, recursing: without that, a function of `__main__` arrives without the names it uses."""
    try:
        return bytes(dill.dumps(value, PROTOCOL, recurse=True))
    except RecursionError:
        # dill follows functions that refer to each other, or to themselves in a closure, without end.
        return bytes(cloudpickle.dumps(value, protocol=PROTOCOL))


def _dump_pair(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    return _dill_dumps((args, kwargs))


def culprit(args: Iterable[Any], kwargs: Mapping[str, Any], dump: Callable[..., bytes]) -> str:
    """Which argument it is that cannot be pickled."""
    named = [*((f"argument {at}", value) for at, value in enumerate(args)), *kwargs.items()]
    for name, value in named:
        try:
            dump((value,), {})
        except Exception:
            return f" ({name}, of type `{type(value).__name__}`)"
    return ""


def _large(function: Callable[..., Any], size: int, graph: Optional[Graph] = None) -> str:
    """A warning that names the largest things a function drags along."""
    sizes = []
    for name, value in _references(function):
        try:
            sizes.append((len(cloudpickle.dumps(value, PROTOCOL)), name))
        except Exception:
            continue  # It was measured as part of something else.
    if graph is not None:
        sizes += [(len(source.text), module) for module, source in graph.sources.items()]
    dragged = ", ".join(f"`{name}` ({_mib(part)})" for part, name in sorted(sizes, reverse=True)[:3])
    name = getattr(function, "__qualname__", repr(function))
    return f"`{name}` is {_mib(size)} pickled, as it refers to {dragged or 'large values'}: pass them as arguments"


def _references(function: Callable[..., Any]) -> Iterable[tuple[str, Any]]:
    if not isinstance(function, types.FunctionType):
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        yield name, cell.cell_contents
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if value is not None and not isinstance(value, types.ModuleType):
            yield name, value
    for at, value in enumerate(function.__defaults__ or ()):
        yield f"default {at}", value


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
