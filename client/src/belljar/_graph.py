"""A function and its arguments as one object graph, in two pickles.

The function's pickle brings classes and functions of the script by value, as cloudpickle does, each class
under a tracker id. The arguments, which travel with every call, only refer to them. So a class is one class
in the function and in its arguments, and a result that comes back is an instance of the client's own.
"""

from __future__ import annotations

import contextvars
import copyreg
import enum
import functools
import io
import pickle
import sys
import threading
import types
import weakref
from collections import ChainMap
from typing import Any, Callable, Iterable, Mapping, Optional

import cloudpickle
import cloudpickle.cloudpickle as _cloudpickle

from . import _modules, _remote
from ._watch import Watch

# The highest that every Python reads.
PROTOCOL = 4
_ENUM_STATE = frozenset(("_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"))
_MOST_OBJECTS = 10_000


class Unsent(Exception):
    """The arguments refer to a class or module that the function's pickle has not brought."""

    def __init__(self, thing: Any) -> None:
        super().__init__(thing)
        self.thing = thing


class Graph:
    """A pickled function, and what its pickle brings."""

    def __init__(
        self, function: Callable[..., Any], extras: tuple[Any, ...] = (), py_modules: tuple[str, ...] = ()
    ) -> None:
        self.extras = extras
        self._py_modules = py_modules
        names = {extra for extra in extras if isinstance(extra, str)}
        pickler = self._pickle(function, names, py_modules)
        if pickler.modules - names:
            names |= pickler.modules
            pickler = self._pickle(function, names, py_modules)
        self.pickled = pickler.file.getvalue()
        self.classes = {tracker_id: cls for cls, tracker_id in pickler.classes.values()}
        self.modules = frozenset(self.sources)
        self._by_id = {key: tracker_id for key, (_, tracker_id) in pickler.classes.items()}
        self._objects = {id(thing): at for at, thing in enumerate(pickler.objects)}
        # Kept, so that their ids stay theirs; but for the function, which must not keep itself alive.
        self._kept = [thing for thing in pickler.objects if thing is not function]
        stamps = [(source.path, source.stamp) for source in self.sources.values()]
        classes = [cls for cls, _ in pickler.classes.values()]
        self.watch = Watch(function, pickler.functions, classes, self.modules, stamps)

    def _pickle(self, function: Callable[..., Any], names: set[str], given: tuple[str, ...]) -> _Pickler:
        self.sources = _modules.collect(names, given)
        pickler = _Pickler(None, given)
        extras = [extra for extra in self.extras if not isinstance(extra, str)]
        pickler.dump(_Root(self.sources, function, extras, pickler.objects))
        return pickler

    @property
    def source_bytes(self) -> int:
        """How large the modules are that travel along."""
        return sum(len(source.text) for source in self.sources.values())

    def tracker_id(self, cls: type) -> Optional[str]:
        """Under which id a class travels; None if it does not."""
        return self._by_id.get(id(cls))

    def index(self, thing: Any) -> Optional[int]:
        """Which of the objects that travel this is; None if it is none."""
        return self._objects.get(id(thing))

    def dump(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The arguments of a call of this function. `Unsent` says what the function has to bring first."""
        try:
            pickled = pickle.dumps((args, kwargs), PROTOCOL)
            if b"\x93" not in pickled:  # It names nothing that it could mean differently there.
                return pickled
        except Exception:
            pass
        pickler = _Pickler(self, self._py_modules)
        pickler.dump((args, kwargs))
        return pickler.file.getvalue()


class _Root:
    """What the function's pickle says, in this order: modules, the function, more classes, shared objects."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        sources, *rest = self._parts
        return _remote.function, (_Modules(sources), *rest)


class _Modules:
    def __init__(self, sources: Mapping[str, _modules.Source]) -> None:
        self._sources = sources

    def __reduce__(self) -> Any:
        files = {name: (source.text, source.path, source.is_package) for name, source in self._sources.items()}
        values = {name: _modules.values(name) for name in files}
        return _remote.modules, (files, values)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """cloudpickle's, which notes what it sends; with a graph, which refers to what that has sent."""

    def __init__(self, sent: Optional[Graph], given: Iterable[str] = ()) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, PROTOCOL)
        self._sent = sent
        self._given = tuple(given)
        self.functions: list[types.FunctionType] = []
        self.classes: dict[int, tuple[type, str]] = {}
        self.modules: set[str] = set()
        self.objects: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if self._sent is not None:
            index = self._sent.index(obj)
            if index is not None:
                return _remote.known_object, (index,)
        if kind is types.FunctionType:
            return self._reduce_function(obj)
        if kind is types.ModuleType:
            self._note_module(obj.__name__)
        elif kind is _WRAPPER and _cloudpickle._lookup_module_and_qualname(obj) is None:
            self.functions.append(obj.__wrapped__)
            self._note_imports(obj.__wrapped__)
            return _reduce_cached(self, obj)
        elif kind is object or kind.__module__ == "__main__":
            self._note_object(obj)
        return NotImplemented

    def _reduce_function(self, function: types.FunctionType) -> Any:
        reduced = self._function_reduce(function)
        if reduced is NotImplemented:
            self._note_module(function.__module__)
        else:
            self.functions.append(function)
            self._note_object(function)
            self._note_imports(function)
        return reduced

    def _reduce_class(self, cls: type) -> Any:
        if self._sent is not None:
            tracker_id = self._sent.tracker_id(cls)
            if tracker_id is not None:
                return _remote.known_class, (tracker_id,)
        reduced = _cloudpickle._class_reduce(cls)
        if reduced is NotImplemented:
            self._note_module(cls.__module__)
        if not isinstance(reduced, tuple) or len(reduced) != 6:
            return reduced
        if self._sent is not None and "<locals>" not in cls.__qualname__:
            raise Unsent(cls)
        self.classes[id(cls)] = (cls, _cloudpickle._get_or_create_tracker_id(cls))
        return _whole_class(cls, *reduced)

    def _note_object(self, thing: Any) -> None:
        if self._sent is None and len(self.objects) < _MOST_OBJECTS:
            self.objects.append(thing)

    def _note_imports(self, function: types.FunctionType) -> None:
        for name in _modules.imported_by(function.__code__):
            self._note_module(name)

    def _note_module(self, name: Optional[str]) -> None:
        if name is None or name in self.modules or _modules.path_of(name, self._given) is None:
            return
        self.modules.add(name)
        if self._sent is not None and name not in self._sent.modules:
            raise Unsent(name)


def _whole_class(cls: type, make: Any, args: Any, state: Any, *rest: Any) -> Any:
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


_WRAPPER = type(functools.lru_cache(lambda: None))


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


def _reduce_cached(pickler: _Pickler, wrapper: Any) -> Any:
    """A function under `functools.lru_cache`, with an empty cache."""
    make, args, state = pickler._dynamic_function_reduce(wrapper.__wrapped__)[:3]
    parameters = wrapper.cache_parameters()
    cache = _Made(functools.lru_cache, parameters["maxsize"], parameters["typed"])
    return cache, (_Unfilled((make, args)),), state, None, None, _remote.fill_wrapped


def _reduce_variable(variable: contextvars.ContextVar[Any]) -> Any:
    try:
        return _remote.context_variable, (variable.name, contextvars.Context().run(variable.get))
    except LookupError:
        return _remote.context_variable, (variable.name,)


# What cloudpickle does not take: locks arrive unlocked, weak references as ones to a copy.
_REDUCERS: dict[type, Callable[[Any], Any]] = {
    type(threading.Lock()): lambda lock: (threading.Lock, ()),
    type(threading.RLock()): lambda lock: (threading.RLock, ()),
    threading.local: lambda local: (threading.local, (), dict(vars(local))),
    weakref.ref: lambda ref: (weakref.ref, (ref(),)),
    weakref.WeakKeyDictionary: lambda weak: (weakref.WeakKeyDictionary, (dict(weak),)),
    weakref.WeakValueDictionary: lambda weak: (weakref.WeakValueDictionary, (dict(weak),)),
    contextvars.ContextVar: _reduce_variable,
}
_Pickler.dispatch_table = ChainMap(_REDUCERS, cloudpickle.Pickler._dispatch_table, copyreg.dispatch_table)
