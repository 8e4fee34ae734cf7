"""An unpickler that makes data, and instances of classes that this program sent, and calls nothing else."""

from __future__ import annotations

import builtins
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import ipaddress
import pathlib
import pickle
import re
import sys
import types
import uuid
from typing import TYPE_CHECKING, Any, Callable, Optional

from ._errors import RemoteError

if TYPE_CHECKING:
    from ._graph import Graph

_Base: Any = getattr(pickle, "_Unpickler")


class Refused(Exception):
    """What a pickle wants that is not given, named."""


class Global:
    """A name in the pickle that stands for something that may be called, or for nothing that is known here."""

    def __init__(self, name: str, call: Optional[Callable[..., Any]] = None) -> None:
        self.name = name
        self.call = call


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    if encoding is None and type(data) is bytes:
        return bytearray(data)
    if type(data) is str and encoding == "latin-1":
        return bytearray(data, "latin-1")
    raise Refused("a bytearray of something else than bytes")


def _fraction(*parts: Any) -> fractions.Fraction:
    if len(parts) == 1 and type(parts[0]) is str and re.fullmatch(r"-?\d{1,4000}(/\d{1,4000})?", parts[0]):
        return fractions.Fraction(parts[0])
    if len(parts) == 2 and all(type(part) is int for part in parts):
        return fractions.Fraction(*parts)
    raise Refused("a fraction of something else than two numbers")


def _defaultdict(factory: Any = None) -> Any:
    if factory is None or factory in (int, float, str, list, dict, set, tuple, bool, bytes):
        return collections.defaultdict(factory)
    raise Refused(f"a defaultdict of `{factory}`")


def _zone(key: Any, _: Any = True) -> Any:
    import zoneinfo

    return zoneinfo.ZoneInfo(key)


def _member_by_name(cls: Any, name: Any) -> enum.Enum:
    # As Python 3.11 pickles them.
    if isinstance(cls, enum.EnumMeta) and type(name) is str and name in cls.__members__:
        return cls.__members__[name]
    raise Refused("it calls `builtins.getattr`")


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is float and type(imaginary) is float:
        return complex(real, imaginary)
    raise Refused("a complex of something else than two numbers")


_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    **{("builtins", cls.__name__): cls for cls in (set, frozenset, range, slice)},
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "complex"): _complex,
    ("builtins", "getattr"): _member_by_name,
    **{("datetime", name): getattr(datetime, name) for name in ("date", "time", "datetime", "timedelta", "timezone")},
    ("decimal", "Decimal"): decimal.Decimal,
    ("fractions", "Fraction"): _fraction,
    **{("collections", cls.__name__): cls for cls in (collections.OrderedDict, collections.Counter, collections.deque)},
    ("collections", "defaultdict"): _defaultdict,
    ("types", "SimpleNamespace"): types.SimpleNamespace,
    ("zoneinfo", "ZoneInfo._unpickle"): _zone,
    **{
        (module, cls.__name__): cls
        for module in ("pathlib", "pathlib._local")
        for cls in (pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))
    },
    **{
        ("ipaddress", cls.__name__): cls
        for cls in (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)
    },
}
# The guest's paths are POSIX ones.
if ("pathlib", "PosixPath") not in _CALLS:
    _CALLS["pathlib", "PosixPath"] = _CALLS["pathlib._local", "PosixPath"] = pathlib.PurePosixPath
# Made empty, then given their state.
_EMPTY: dict[tuple[str, ...], Any] = {
    ("uuid", "UUID"): uuid.UUID,
    ("collections", "ChainMap"): collections.ChainMap,
    ("collections", "OrderedDict"): collections.OrderedDict,
}
# A class that the function made, of which only the name is taken.
_MADE_THERE: dict[str, Callable[..., Any]] = {
    "_make_skeleton_class": lambda kind, name, *_: Global(str(name)),
    "_class_setstate": lambda *_: None,
    "_function_setstate": lambda *_: None,
}
_TYPES = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple, type(None))
_VALUES: dict[tuple[str, str], Any] = {
    **{("builtins", cls.__name__): cls for cls in _TYPES},
    ("builtins", "Ellipsis"): ...,
    ("builtins", "NotImplemented"): NotImplemented,
}
_COMMON = """asyncio binascii builtins calendar concurrent configparser copy csv decimal email enum http inspect ipaddress json
 locale os pickle queue re select shutil signal socket sqlite3 ssl statistics struct subprocess tarfile unittest urllib
 uuid xml zipfile zlib"""  # Python 3.9 has no list.
_MODULES_OF_PYTHON = frozenset(getattr(sys, "stdlib_module_names", _COMMON.split()))
_SLOT = types.MemberDescriptorType
_PLAIN_STATE = getattr(dataclasses, "_dataclass_setstate", None)


class SafeUnpickler(_Base):  # type: ignore[misc, unused-ignore]
    """In Python, since in C a pickle's opcodes do what they do."""

    dispatch = dict(_Base.dispatch)

    def __init__(self, pickled: bytes, graph: Optional[Graph], allow: tuple[type, ...], *, is_exception: bool) -> None:
        super().__init__(io.BytesIO(pickled))
        self._classes = graph.classes if graph is not None else {}
        self._own = {id(cls) for cls in self._classes.values()}
        self._modules = graph.modules if graph is not None else frozenset()
        self._allow = allow
        self._is_exception = is_exception

    # Names.

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key == ("runner_pickles", "known_class"):
            return Global("known_class", self._known_class)
        for cls in self._allow:
            if (cls.__module__, cls.__qualname__) == key:
                return cls
        if module in self._modules and isinstance(_imported(module, name), type):
            self._own.add(id(_imported(module, name)))
            return _imported(module, name)
        if key in _VALUES and key not in _CALLS:
            return _VALUES[key]
        if key in _CALLS or key in _EMPTY:
            return Global(f"{module}.{name}", _CALLS.get(key))
        found = _imported(module, name) if module.partition(".")[0] in _MODULES_OF_PYTHON else None
        if isinstance(found, type) and issubclass(found, (BaseException, enum.Enum)):
            return found
        if isinstance(found, enum.Enum):
            return found
        if module.partition(".")[0] == "numpy":
            from . import _numpy

            made = _numpy.find(module, name)
            if made is not None:
                return made if isinstance(made, type) else Global(f"{module}.{name}", made)
        if self._is_exception:
            return Global(f"{module}.{name}", _MADE_THERE.get(name) if module == "cloudpickle.cloudpickle" else None)
        raise Refused(_what(module, name))

    def _known_class(self, tracker_id: str) -> type:
        try:
            return self._classes[tracker_id]
        except (KeyError, TypeError):
            raise Refused("a class that was not sent with the call") from None

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("an object by reference")

    def get_extension(self, code: int) -> Any:
        raise Refused("an extension of pickle")

    # Calls.

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def _call(self, called: Any, args: Any) -> Any:
        if type(args) is not tuple:
            raise Refused("a call without arguments")
        if isinstance(called, Global):
            if called.call is not None:
                return called.call(*args)
            if self._is_exception:
                return _unknown_exception(called.name, args)
        if isinstance(called, RemoteError):  # A part of a class that the function made.
            return called
        if isinstance(called, type):
            if called in self._allow:
                return called(*args)
            if issubclass(called, enum.Enum):
                return _member(called, args)
            if issubclass(called, BaseException):
                return self._exception(called, args)
            if id(called) in self._own:
                return _instance(called, args, is_call=True)
        raise Refused(_named(called))

    def _exception(self, cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
        # Python's own exceptions keep what they are given; the program's own are not asked.
        return _native_new(cls)(cls, *args) if id(cls) in self._own else cls(*args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        self.append(self._new(cls, args))

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def _new(self, cls: Any, args: Any) -> Any:
        if isinstance(cls, Global):
            key = tuple(cls.name.rsplit(".", 1))
            if key in _EMPTY and not args:
                return _EMPTY[key].__new__(_EMPTY[key])
            if self._is_exception and cls.call is None:
                return _unknown_exception(cls.name, args)
        elif isinstance(cls, type) and type(args) is tuple:
            if cls in self._allow:
                return cls.__new__(cls, *args)
            if issubclass(cls, BaseException):
                return _native_new(cls)(cls, *args)
            if id(cls) in self._own:
                return _instance(cls, args, is_call=False)
        raise Refused(_named(cls))

    def _refuse_opcode(self) -> None:
        raise Refused("an old form of pickle")

    for _opcode in (pickle.NEWOBJ_EX, pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID):
        dispatch[_opcode[0]] = _refuse_opcode
    del _opcode

    # State and items, without methods of the program.

    def load_build(self) -> None:
        state = self.stack.pop()
        self._build(self.stack[-1], state)

    dispatch[pickle.BUILD[0]] = load_build

    def _build(self, instance: Any, state: Any) -> None:
        cls = type(instance)
        if isinstance(instance, type) or isinstance(instance, Global):
            raise Refused("a change of a class")
        if cls in self._allow:
            _natural_build(instance, state)
        elif isinstance(instance, BaseException):
            _set_exception_state(instance, state)
        elif id(cls) in self._own:
            _set_state(instance, state)
        elif cls is uuid.UUID:
            _set_uuid(instance, state)
        elif cls in (types.SimpleNamespace, collections.ChainMap) and type(state) is dict:
            instance.__dict__.update(state)
        elif cls in (collections.OrderedDict, collections.deque, collections.Counter) and not state:
            pass
        elif cls.__module__ == "numpy" or cls.__module__.startswith("numpy."):
            from . import _numpy

            _numpy.set_state(instance, state)
        else:
            raise Refused(f"state for a `{cls.__qualname__}`")

    def load_append(self) -> None:
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    dispatch[pickle.APPENDS[0]] = load_appends

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _set_items(self.stack[-1], items)

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_additems(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise Refused("items for what is no set")
        set.update(self.stack[-1], items)

    dispatch[pickle.ADDITEMS[0]] = load_additems


def _what(module: str, name: str) -> str:
    if module.startswith(("cloudpickle", "dill")):
        return "it has a class or function that was made there"
    return f"it refers to `{module}.{name}`"


def _named(thing: Any) -> str:
    if isinstance(thing, Global):
        return f"it calls `{thing.name}`"
    if isinstance(thing, type):
        return f"it makes a `{thing.__module__}.{thing.__qualname__}` in a way that would run its code"
    return f"it calls a {type(thing).__name__}"


def _imported(module: str, name: str) -> Any:
    """Something of a module that is imported here already; no code of the module runs for it."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _unknown_exception(name: str, args: Any) -> RemoteError:
    """Stands for an exception of a class that is not known here."""
    text = args[0] if len(args) == 1 and type(args[0]) is str else ", ".join(map(_shown, args))
    return RemoteError(f"{name}: {text}" if text else name)


def _shown(value: Any) -> str:
    return repr(value) if type(value) in (int, float, str, bytes, bool, type(None)) else f"<{type(value).__name__}>"


def _member(cls: type[enum.Enum], args: tuple[Any, ...]) -> enum.Enum:
    if len(args) == 1:
        for member in cls.__members__.values():
            if type(member._value_) is type(args[0]) and member._value_ == args[0]:
                return member
        if issubclass(cls, enum.Flag) and type(args[0]) is int and not _is_overridden(cls, "_missing_"):
            return cls(args[0])
    raise Refused(f"it has a `{cls.__qualname__}` that is no member")


def _is_overridden(cls: type, name: str) -> bool:
    owner = next((base for base in cls.__mro__ if name in vars(base)), None)
    return owner is not None and owner.__module__ not in ("builtins", "enum")


def _native_base(cls: type) -> Any:
    """The builtin type that an instance is, under what Python code makes of it."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins" and hasattr(builtins, base.__name__))


def _native_new(cls: type) -> Callable[..., Any]:
    made: Callable[..., Any] = _native_base(cls).__new__
    return made


def _instance(cls: type, args: tuple[Any, ...], *, is_call: bool) -> Any:
    """An instance of a class of the program, made without its code."""
    base = _native_base(cls)
    new: Callable[..., Any] = base.__new__
    if issubclass(cls, tuple):
        fields = getattr(cls, "_fields", None)
        if fields is not None and len(args) == len(fields):
            return tuple.__new__(cls, args)
        if fields is None and len(args) == 1 and type(args[0]) is tuple:
            return tuple.__new__(cls, args[0])
    elif base in (set, frozenset) and len(args) == 1 and type(args[0]) is list:
        made = new(cls, args[0]) if base is frozenset else new(cls)
        if base is set:
            set.update(made, args[0])
        return made
    elif base in (int, float, str, bytes, complex) and len(args) == 1 and type(args[0]) is base:
        return new(cls, args[0])
    elif base in (object, list, dict) and not args and not is_call:
        return new(cls)
    raise Refused(_named(cls))


def _set_exception_state(error: BaseException, state: Any) -> None:
    if type(state) is not dict:
        raise Refused("an exception's state that is no dict")
    for name, value in state.items():
        if name in ("__cause__", "__context__"):
            if isinstance(value, BaseException):
                setattr(error, name, value)
        elif name == "args":
            error.args = tuple(value)
        elif name == "__suppress_context__":
            error.__suppress_context__ = bool(value)
        elif name == "__notes__":
            error.__notes__ = [str(note) for note in value if type(note) is str]  # type: ignore[attr-defined, unused-ignore]
        elif type(name) is str and not name.startswith("__"):
            field = next((vars(base)[name] for base in type(error).__mro__ if name in vars(base)), None)
            if isinstance(field, (_SLOT, types.GetSetDescriptorType)):
                field.__set__(error, value)
            else:
                error.__dict__[name] = value


def _set_state(instance: Any, state: Any) -> None:
    """What pickle does with state, but by the class's slots, past its own methods."""
    cls = type(instance)
    setter = getattr(cls, "__setstate__", None)
    if setter is not None:
        names = _generated_names(cls, setter)
        if names is None:
            raise Refused(f"`{cls.__qualname__}` has a __setstate__, which would run")
        state = (None, dict(zip(names, state)) if isinstance(state, (list, tuple)) else state)
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state:
        if type(state) is not dict or not hasattr(instance, "__dict__"):
            raise Refused(f"state for a `{cls.__qualname__}` that is no dict")
        object.__getattribute__(instance, "__dict__").update(state)
    for name, value in (slots or {}).items():
        slot = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if isinstance(slot, _SLOT):
            slot.__set__(instance, value)
        elif hasattr(instance, "__dict__"):
            object.__getattribute__(instance, "__dict__")[name] = value
        else:
            raise Refused(f"`{cls.__qualname__}` has no slot `{name}`")


def _generated_names(cls: Any, setter: Any) -> Optional[list[str]]:
    """The fields that a generated `__setstate__` sets, of a frozen data class or of attrs."""
    if _PLAIN_STATE is not None and setter is _PLAIN_STATE:
        return [field.name for field in dataclasses.fields(cls)]
    if getattr(setter, "__module__", "").startswith("attr.") or "attr" in getattr(setter, "__qualname__", "")[:5]:
        return [field.name for field in getattr(cls, "__attrs_attrs__", ())]
    if getattr(setter, "__name__", "") == "slots_setstate" and hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    return None


def _set_uuid(instance: uuid.UUID, state: Any) -> None:
    if type(state) is not dict or type(state.get("int")) is not int or not 0 <= state["int"] < 1 << 128:
        raise Refused("a UUID that is no number")
    object.__setattr__(instance, "int", state["int"])
    object.__setattr__(instance, "is_safe", uuid.SafeUUID.unknown)


def _natural_build(instance: Any, state: Any) -> None:
    setter = getattr(instance, "__setstate__", None)
    if setter is not None:
        setter(state)
    else:
        _set_state(instance, state)


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        list.extend(target, items)
    elif type(target) is collections.deque:
        target.extend(items)
    else:
        raise Refused(f"items for a {type(target).__name__}")


def _set_items(target: Any, items: list[Any]) -> None:
    if isinstance(target, collections.OrderedDict):
        setter: Callable[..., Any] = collections.OrderedDict.__setitem__
    elif isinstance(target, dict):
        setter = dict.__setitem__
    else:
        raise Refused(f"items for a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2]):
        setter(target, key, value)
