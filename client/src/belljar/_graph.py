"""A function and its arguments as one object graph, in two pickles.

The function's pickle brings classes and functions of the script by value, as cloudpickle does, each class
under a tracker id. The arguments, which travel with every call, only refer to them. So a class is one class
in the function and in its arguments, and a result that comes back is an instance of the client's own.
"""

from __future__ import annotations

import concurrent.futures
import copyreg
import enum
import io
import pickle
import types
from collections import ChainMap
from typing import Any, Callable, Iterable, Mapping, Optional

import cloudpickle
import cloudpickle.cloudpickle as _cloudpickle

from . import _modules, _remote, _unnamed
from ._arrays import ARRAY_PROTOCOL, PROTOCOL, dump_probe
from ._errors import SerializationError
from ._packed import has_names
from ._reducers import REDUCERS, WRAPPER, reduce_cached, whole_class
from ._values import ReferenceFound, persistent_id
from ._watch import Watch

_MOST_OBJECTS = 10_000


class Unsent(Exception):
    """The arguments refer to a class or module that the function's pickle has not brought."""

    def __init__(self, thing: Any) -> None:
        super().__init__(thing)
        self.thing = thing


class FutureFound(SerializationError):
    """The arguments have a future inside."""

    SENTENCE = "a Future cannot be sent to a call; hint: pass its result()"


class Graph:
    """A pickled function, and what its pickle brings."""

    def __init__(
        self, function: Callable[..., Any], extras: tuple[Any, ...] = (), py_modules: tuple[str, ...] = ()
    ) -> None:
        self.extras = extras
        self._py_modules = py_modules
        names = {extra for extra in extras if isinstance(extra, str)}
        classes = [extra for extra in extras if not isinstance(extra, str)]
        texts: dict[str, tuple[dict[str, Any], Any]] = {}
        while True:
            pickler = self._pickle(function, names, classes, texts)
            found = _unnamed.Found(pickler.functions, [cls for cls, _ in pickler.classes.values()])
            modules, more = pickler.modules - names, [cls for cls in found.subclasses if cls not in classes]
            if not modules and not more and not found.names.keys() - texts.keys():
                break
            names |= modules
            classes += more
            texts.update(found.names)
        self.pickled = pickler.file.getvalue()
        self.classes = {tracker_id: cls for cls, tracker_id in pickler.classes.values()}
        self.modules = frozenset(self.sources)
        self._by_id = {key: tracker_id for key, (_, tracker_id) in pickler.classes.items()}
        self._objects = {id(thing): at for at, thing in enumerate(pickler.objects)}
        # Kept, so that their ids stay theirs; but for the function, which must not keep itself alive.
        self._kept = [thing for thing in pickler.objects if thing is not function]
        stamps = [(source.path, source.stamp) for source in self.sources.values()]
        travelling = [cls for cls, _ in pickler.classes.values()]
        named = [(names, name, value) for name, (names, value) in texts.items()]
        self.watch = Watch(function, pickler.functions, travelling, self.modules, stamps, named, found.subclasses)

    def _pickle(
        self, function: Callable[..., Any], names: set[str], classes: list[type], texts: dict[str, tuple[Any, Any]]
    ) -> _Pickler:
        self.sources = _modules.collect(names, self._py_modules)
        named = {name: value for name, (_, value) in texts.items()}
        for extras in ([*classes, named], classes) if texts else (classes,):
            try:
                pickler = _Pickler(None, self._py_modules)
                pickler.dump(_Root(self.sources, function, extras, pickler.objects))
                return pickler
            except Exception:  # A word in a text need not mean what has its name.
                if extras is classes:
                    raise
        raise AssertionError("the last turn returns or raises")

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
        protocol = PROTOCOL
        try:
            pickled, has_arrays = dump_probe((args, kwargs))
            if has_arrays:
                protocol = ARRAY_PROTOCOL
            elif not has_names(pickled):  # It names nothing that it could mean differently there.
                return pickled
        except Exception:
            pass
        try:
            return self._dump(_Pickler(self, self._py_modules, protocol), (args, kwargs))
        except ReferenceFound:
            # Such a pickler asks for each object whether it is one.
            return self._dump(_ReferringPickler(self, self._py_modules, protocol), (args, kwargs))

    def _dump(self, pickler: _Pickler, arguments: Any) -> bytes:
        pickler.dump(arguments)
        return pickler.file.getvalue()


class _Root:
    """What the function's pickle says, in this order: modules, the function, more classes, shared objects."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        sources, *rest = self._parts
        return _remote.function, (_Modules(sources) if sources else None, *rest)


class _Modules:
    def __init__(self, sources: Mapping[str, _modules.Source]) -> None:
        self._sources = sources

    def __reduce__(self) -> Any:
        files = {name: (source.text, source.path, source.is_package) for name, source in self._sources.items()}
        values = {name: _modules.values(name) for name in files}
        return _remote.modules, (files, values)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """cloudpickle's, which notes what it sends; with a graph, which refers to what that has sent."""

    def __init__(self, sent: Optional[Graph], given: Iterable[str] = (), protocol: int = PROTOCOL) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file, protocol)
        self._sent = sent
        self._given = tuple(given)
        self.functions: list[types.FunctionType] = []
        self.classes: dict[int, tuple[type, str]] = {}
        self.modules: set[str] = set()
        self.objects: list[Any] = []
        self._cells: dict[int, types.CellType] = {}

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
        if kind is types.CodeType:
            return _remote.code, _cloudpickle._code_reduce(obj)[1]
        if kind is types.ModuleType:
            self._note_module(obj.__name__)
        elif isinstance(obj, concurrent.futures.Future):
            raise FutureFound(FutureFound.SENTENCE)
        elif isinstance(obj, enum.Enum) and obj._name_ in kind.__members__ and self._travels(kind):
            return getattr, (kind, obj._name_)  # Its value may have no equal there.
        elif kind is WRAPPER and _cloudpickle._lookup_module_and_qualname(obj) is None:
            self.functions.append(obj.__wrapped__)
            self._note_imports(obj.__wrapped__)
            return reduce_cached(self, obj)
        elif kind is object or kind.__module__ == "__main__":
            self._note_object(obj)
        return NotImplemented

    def _travels(self, cls: type) -> bool:
        return not _cloudpickle._should_pickle_by_reference(cls)

    def _function_getnewargs(self, function: types.FunctionType) -> tuple[Any, ...]:
        # An empty cell for each cell, not for each function that has it: functions may share one.
        *args, closure = super()._function_getnewargs(function)
        cells = function.__closure__ and tuple(map(self._empty_cell, function.__closure__))
        return *args, cells

    def _empty_cell(self, cell: types.CellType) -> types.CellType:
        return self._cells.setdefault(id(cell), types.CellType())

    def _reduce_function(self, function: types.FunctionType) -> Any:
        reduced = self._function_reduce(function)
        if reduced is NotImplemented:
            self._note_module(function.__module__)
        else:
            self.functions.append(function)
            self._note_object(function)
            self._note_imports(function)
            if _is_plain(function, reduced):
                return _remote.plain_function, (function.__code__,)
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
        return whole_class(cls, *reduced)

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


class _ReferringPickler(_Pickler):
    def persistent_id(self, obj: Any) -> Optional[str]:
        return persistent_id(obj)


def dump_alone(value: Any) -> bytes:
    """A value with the classes and functions of the script that it has. Each class is the one that a function brings too."""
    pickler = _Pickler(None)
    pickler.dump(value)
    return pickler.file.getvalue()


def _is_plain(function: types.FunctionType, reduced: Any) -> bool:
    """Whether a function of the script is its code and nothing else: what is quickest to make in each call."""
    attributes, more = reduced[2]
    if attributes or more["__globals__"] or more["_cloudpickle_submodules"] or function.__closure__:
        return False
    made = types.FunctionType(function.__code__, {"__name__": "__main__", "__builtins__": {}})
    names = more.keys() - {"__globals__", "_cloudpickle_submodules"}
    return all(getattr(made, name) == more[name] for name in names)


_Pickler.dispatch_table = ChainMap(REDUCERS, cloudpickle.Pickler._dispatch_table, copyreg.dispatch_table)
