"""How single objects are pickled where cloudpickle leaves something out, or does not take them."""

from __future__ import annotations

import abc
import collections.abc
import contextvars
import enum
import functools
import numbers
import struct
import sys
import threading
import typing
import weakref
from typing import Any, Callable, Mapping

import cloudpickle.cloudpickle as _cloudpickle

from . import _modules, _remote

_ENUM_STATE = frozenset(("_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"))
_dump_registry: Callable[[type], Any] = getattr(abc, "_get_dump", lambda _: ((),))
# What `typing` makes of a script that cloudpickle does not know. In Python 3.9 a new type is a function.
_NEW_TYPE = typing.NewType if isinstance(typing.NewType, type) else None
_PARAMETER_NAMES = ("ParamSpec", "TypeVarTuple", "TypeAliasType", "NewType")
_PARAMETERS = [kind for name in _PARAMETER_NAMES if isinstance(kind := getattr(typing, name, None), type)]
# Abstract classes of the library, at which a class of the script may be registered.
_ABSTRACT = [
    cls for module in (collections.abc, numbers) for cls in vars(module).values() if isinstance(cls, abc.ABCMeta)
]


def whole_class(cls: type, make: Any, args: Any, state: Any, *rest: Any) -> Any:
    """A class as cloudpickle reduces it, with what that leaves out."""
    attributes, more = state
    if isinstance(cls, enum.EnumMeta):
        bases, name, qualname, _, module, tracker_id, extra = args
        # Aliases and, of flags, combinations too.
        named: Mapping[str, enum.Enum] = cls.__members__
        members = {key: member._value_ for key, member in named.items()}
        for key in members:
            attributes.pop(key, None)
        own = {key: _more_state(member) for key, member in named.items() if key == member._name_}
        attributes["__belljar_members__"] = {key: value for key, value in own.items() if value}
        args = bases, name, qualname, members, module, tracker_id, extra
        return make, args, (attributes, more), *rest
    if type(cls).__name__ == "_TypedDictMeta" or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        # Made by `NamedTuple` or `TypedDict`, which would make it anew, of nothing.
        args = (*args[:2], cls.__bases__, *args[3:])
    if "." in cls.__qualname__:
        args[3]["__qualname__"] = cls.__qualname__
    registered = [base for base in _ABSTRACT if any(ref() is cls for ref in _dump_registry(base)[0])]
    if registered:
        attributes["__belljar_registered__"] = registered
    if "__slots__" in vars(cls):
        slots = attributes.pop("__slots__", ())
        args[3]["__slots__"] = slots if isinstance(slots, str) else tuple(slots)
    if sys.version_info >= (3, 14) and "__annotations_cache__" not in attributes:
        try:
            attributes["__annotations_cache__"] = cls.__annotations__
        except Exception:  # They name what is not defined: nobody can have read them.
            pass
    return (make, args, (attributes, more), *rest)


def _more_state(member: enum.Enum) -> dict[str, Any]:
    return {key: value for key, value in vars(member).items() if key not in _ENUM_STATE}


WRAPPER = type(functools.lru_cache(lambda: None))


class _Made:
    """A callable that is itself made by a call: `functools.lru_cache(8, False)`."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        self._parts = make, args

    def __call__(self) -> None:
        """For pickle, which wants something that can be called."""

    def __reduce__(self) -> Any:
        return self._parts


class _Unfilled:
    """A function without its globals, which may refer to the wrapper around it."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        return self._parts


def reduce_cached(pickler: Any, wrapper: Any) -> Any:
    """A function under `functools.lru_cache`, with an empty cache."""
    make, args, state = pickler._dynamic_function_reduce(wrapper.__wrapped__)[:3]
    parameters = wrapper.cache_parameters()
    cache = _Made(functools.lru_cache, parameters["maxsize"], parameters["typed"])
    return cache, (_Unfilled((make, args)),), state, None, None, _remote.fill_wrapped


def _reduce_variable(variable: contextvars.ContextVar[Any]) -> Any:
    """With its default, and what it is now, where that is plain data."""
    default, now = _get(contextvars.Context(), variable), _get(contextvars.copy_context(), variable)
    is_sent = now and now[0] is not (default or [_Made])[0] and _modules.is_plain(now[0])
    return _remote.context_variable, (variable.name, default, now if is_sent else [])


def _get(context: contextvars.Context, variable: contextvars.ContextVar[Any]) -> list[Any]:
    try:
        return [context.run(variable.get)]
    except LookupError:
        return []


def _reduce_parameter(parameter: Any) -> Any:
    """A type parameter, or alias, of the script."""
    if _cloudpickle._lookup_module_and_qualname(parameter, parameter.__name__) is not None:
        return parameter.__name__
    kind = type(parameter)
    given = {"bound": "__bound__", "covariant": "__covariant__", "contravariant": "__contravariant__"}
    options = {name: getattr(parameter, field) for name, field in given.items() if getattr(parameter, field, None)}
    args = (parameter.__supertype__,) if kind is _NEW_TYPE else ()
    if kind.__name__ == "TypeAliasType":
        args, options = (parameter.__value__,), {"type_params": parameter.__type_params__}
    # No weak reference leads to an alias; who names it keeps it alive.
    tracker_id = f"{kind.__name__} {id(parameter)}"
    return _remote.type_parameter, (kind.__name__, parameter.__name__, args, options, tracker_id)


# What cloudpickle does not take: locks arrive unlocked, weak references as ones to a copy.
REDUCERS: dict[type, Callable[[Any], Any]] = {
    type(threading.Lock()): lambda lock: (threading.Lock, ()),
    type(threading.RLock()): lambda lock: (threading.RLock, ()),
    threading.local: lambda local: (threading.local, (), dict(vars(local))),
    # Which Python 3.9 cannot find by its name.
    weakref.ref: lambda ref: (_Made(getattr, weakref, "ref"), (ref(),)),
    weakref.WeakKeyDictionary: lambda weak: (weakref.WeakKeyDictionary, (dict(weak),)),
    weakref.WeakValueDictionary: lambda weak: (weakref.WeakValueDictionary, (dict(weak),)),
    contextvars.ContextVar: _reduce_variable,
    struct.Struct: lambda made: (struct.Struct, (made.format,)),
    **{kind: _reduce_parameter for kind in _PARAMETERS},
}
