"""An unpickler that makes data, and instances of classes that this program sent, and calls nothing else."""

from __future__ import annotations

import builtins
import collections
import dataclasses
import enum
import functools
import io
import pickle
import sys
import types
import uuid
from typing import TYPE_CHECKING, Any, Callable, Optional

from ._errors import RemoteError, set_attribute
from ._plain import CALLS, EMPTY, MADE_THERE, MAKERS, MODULES_OF_PYTHON, VALUES, Global, Refused
from ._plain import imported, is_overridden, struct_sequence

if TYPE_CHECKING:
    from ._graph import Graph

_Base: Any = getattr(pickle, "_Unpickler")
_SLOT = types.MemberDescriptorType
# What the library has in C beside the builtin types.
_CONTAINERS = (collections.OrderedDict, collections.deque, collections.defaultdict)
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
        if key == ("runner_pickles", "known_exception"):
            return Global("known_exception", _known_exception)
        if key == ("runner_pickles", "set_exception_state"):
            return Global("set_exception_state", set_exception_state)
        for cls in self._allow:
            if (cls.__module__, cls.__qualname__) == key:
                return cls
        if module in self._modules and isinstance(imported(module, name), type):
            self._own.add(id(imported(module, name)))
            return imported(module, name)
        if key in VALUES or key in EMPTY:
            return VALUES[key] if key in VALUES else EMPTY[key]
        if key in CALLS:
            made: Any = CALLS[key] if isinstance(CALLS[key], type) else imported(module, name)
            return made if isinstance(made, type) else Global(f"{module}.{name}", CALLS[key])
        found = imported(module, name) if module.partition(".")[0] in MODULES_OF_PYTHON else None
        if isinstance(found, type) and issubclass(found, (BaseException, enum.Enum)):
            return found
        if isinstance(found, enum.Enum):
            return found
        if isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields"):
            self._own.add(id(found))
            return found
        if isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "n_sequence_fields"):
            return Global(f"{module}.{name}", functools.partial(struct_sequence, found))
        if module.partition(".")[0] == "numpy":
            from . import _numpy

            made = _numpy.find(module, name)
            if made is not None:
                return made if isinstance(made, type) else Global(f"{module}.{name}", made)
        if self._is_exception:
            return Global(f"{module}.{name}", MADE_THERE.get(name) if module == "cloudpickle.cloudpickle" else None)
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
            if id(called) in MAKERS:
                return MAKERS[id(called)](*args)
            if issubclass(called, enum.Enum):
                return _member(called, args)
            if issubclass(called, BaseException):
                return self._exception(called, args)
            if id(called) in self._own:
                return _instance(called, args, is_call=True)
            if self._is_exception:  # A part of a class that the function made.
                return _unknown_exception(called.__qualname__, args)
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
            if self._is_exception and cls.call is None:
                return _unknown_exception(cls.name, args)
        elif isinstance(cls, type) and type(args) is tuple:
            if cls in self._allow:
                return cls.__new__(cls, *args)
            if cls in EMPTY.values() and not args:
                return object.__new__(cls)
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
            set_exception_state(instance, state)
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
        if issubclass(cls, enum.Flag) and type(args[0]) is int and not is_overridden(cls, "_missing_"):
            return cls(args[0])
    raise Refused(f"it has a `{cls.__qualname__}` that is no member")


def _known_exception(cls: Any, *args: Any) -> BaseException:
    if isinstance(cls, type) and issubclass(cls, BaseException):
        return known_exception(cls, *args)
    raise Refused("an exception of no class")


def known_exception(cls: type[BaseException], *args: Any) -> BaseException:
    """An exception, made without its class's own code."""
    made: BaseException = _native_new(cls)(cls, *args)
    return made


def _native_base(cls: type) -> Any:
    """The builtin type that an instance is, under what Python code makes of it."""
    return next(base for base in cls.__mro__ if base in _CONTAINERS or vars(builtins).get(base.__name__) is base)


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
    elif base in _CONTAINERS:
        return _container(cls, base, args)
    elif issubclass(cls, collections.Counter) and len(args) == 1 and type(args[0]) is dict:
        counter = new(cls)
        dict.update(counter, args[0])
        return counter
    raise Refused(_named(cls))


def _container(cls: type, base: Any, args: tuple[Any, ...]) -> Any:
    factory = args[0] if base is collections.defaultdict and len(args) == 1 else None
    is_deque = base is collections.deque and len(args) == 2 and args[0] in ((), [])
    if args and not is_deque and MAKERS[id(collections.defaultdict)](factory).default_factory is None:
        raise Refused(_named(cls))
    made = base.__new__(cls)
    base.__init__(made, *args)
    return made


def set_exception_state(error: Any, state: Any) -> None:
    """Sets the attributes of an exception, past its class's own methods."""
    if not isinstance(error, BaseException) or type(state) is not dict:
        raise Refused("an exception's state that is no dict")
    for name, value in state.items():
        if name in ("__cause__", "__context__"):
            if isinstance(value, BaseException):
                set_attribute(error, name, value)
        elif name == "args":
            set_attribute(error, name, tuple(value))
        elif name == "__suppress_context__":
            set_attribute(error, name, bool(value))
        elif name == "__notes__":
            set_attribute(error, name, [note for note in value if type(note) is str])
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
    elif isinstance(target, collections.deque):
        collections.deque.extend(target, items)
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
