"""What may be made of a pickle without trust: values of the standard library, from plain data alone."""

from __future__ import annotations

import array
import builtins
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import importlib
import ipaddress
import logging
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from typing import Any, Callable, Optional


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
    return zoneinfo.ZoneInfo(key)


def _member_by_name(cls: Any, name: Any) -> Any:
    if cls is zoneinfo.ZoneInfo and name == "_unpickle":
        return Global("zoneinfo.ZoneInfo._unpickle", _zone)
    # As Python 3.11 pickles them.
    if isinstance(cls, enum.EnumMeta) and type(name) is str and name in cls.__members__:
        return cls.__members__[name]
    raise Refused("it calls `builtins.getattr`")


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is float and type(imaginary) is float:
        return complex(real, imaginary)
    raise Refused("a complex of something else than two numbers")


def _bytes(data: Any) -> bytes:
    if type(data) is bytes:
        return data
    raise Refused("bytes of something else than bytes")


def _array(kind: Any, code: Any, form: Any, data: Any) -> array.array[Any]:
    if kind is array.array and type(code) is str and type(form) is int and type(data) is bytes:
        made: array.array[Any] = _rebuild_array(kind, code, form, data)
        return made
    raise Refused("an array of something else than bytes")


def _pattern(text: Any, flags: Any) -> re.Pattern[Any]:
    if type(text) in (str, bytes) and len(text) <= _LONGEST_PATTERN and isinstance(flags, int) and not flags & re.DEBUG:
        return re.compile(text, int(flags))
    raise Refused("a pattern of something else than a text")


def _or(one: Any, other: Any) -> Any:
    # As Python 3.11 pickles flags.
    cls = type(one)
    if isinstance(one, enum.Flag) and cls is type(other) and not is_overridden(cls, "__or__", "_missing_"):
        return one | other
    raise Refused("it calls `operator.or_`")


def struct_sequence(cls: Any, fields: Any, more: Any = None) -> Any:
    """What C makes as a tuple with names: `time.struct_time`, `os.stat_result`."""
    if type(fields) is tuple and type(more) in (dict, type(None)):
        return cls(fields, more or {})
    raise Refused("a tuple of names of something else than a tuple")


def _alias(origin: Any, parameters: Any) -> Any:
    if isinstance(origin, type) and type(parameters) is tuple:
        return types.GenericAlias(origin, parameters)
    raise Refused("an alias of no type")


def _logger(name: Any) -> Any:
    if type(name) is not str:
        raise Refused("a logger without a name")
    # The program may have a class of its own for new ones, whose code would run.
    is_plain = logging.getLoggerClass() is logging.Logger
    return logging.getLogger(name) if is_plain else logging.Logger(name)


def _type_of(value: Any, *more: Any) -> type:
    if not more and (value is None or value is ... or value is NotImplemented):
        return type(value)
    raise Refused("the type of something")


def _library_type(name: Any) -> Any:
    # How cloudpickle names those of `types`.
    found = vars(types).get(name)
    if isinstance(found, type):
        return found
    raise Refused(f"`types.{name}`")


def _view(part: str) -> Callable[..., Any]:
    def make(items: Any, *_: Any) -> Any:
        if type(items) not in (dict, list, collections.OrderedDict):
            raise Refused("a view of no dictionary")
        if part == "values":
            items = dict(enumerate(items))
        return getattr(dict.fromkeys(items) if type(items) is list else items, part)()

    return make


_LONGEST_PATTERN = 10_000
_rebuild_array: Callable[..., Any] = getattr(array, "_array_reconstructor")
CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    **{("builtins", cls.__name__): cls for cls in (set, frozenset, range, slice)},
    ("array", "_array_reconstructor"): _array,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "bytes"): _bytes,
    **{("cloudpickle.cloudpickle", f"_make_dict_{part}"): _view(part) for part in ("keys", "values", "items")},
    ("builtins", "type"): _type_of,
    ("cloudpickle.cloudpickle", "_builtin_type"): _library_type,
    ("_operator", "or_"): _or,
    ("logging", "getLogger"): _logger,
    ("re", "_compile"): _pattern,
    ("types", "GenericAlias"): _alias,
    ("types", "MappingProxyType"): types.MappingProxyType,
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
        for cls in vars(ipaddress).values()
        if isinstance(cls, type) and cls.__name__.startswith("IPv") and not cls.__name__.endswith("Constants")
    },
}
# The guest's paths are POSIX ones.
if ("pathlib", "PosixPath") not in CALLS:
    CALLS["pathlib", "PosixPath"] = CALLS["pathlib._local", "PosixPath"] = pathlib.PurePosixPath
# Made empty, then given their state.
EMPTY = {("uuid", "UUID"): uuid.UUID, ("collections", "ChainMap"): collections.ChainMap}
# A class that the function made, of which only the name is taken.
MADE_THERE: dict[str, Callable[..., Any]] = {
    "_make_skeleton_class": lambda kind, name, *_: Global(str(name)),
    "_class_setstate": lambda *_: None,
    "_function_setstate": lambda *_: None,
}
VALUES: dict[tuple[str, str], Any] = {
    **{("builtins", name): cls for name, cls in vars(builtins).items() if isinstance(cls, type)},
    ("builtins", "Ellipsis"): ...,
    ("builtins", "NotImplemented"): NotImplemented,
    ("array", "array"): array.array,
    ("zoneinfo", "ZoneInfo"): zoneinfo.ZoneInfo,
}
# Their exceptions and enumerations are found also where the program has not imported them.
_COMMON = frozenset(
    """_csv _pickle _queue _struct _zoneinfo asyncio binascii builtins calendar concurrent configparser copy csv dataclasses
 decimal email enum getopt http inspect ipaddress json locale os pickle queue re select shutil signal socket sqlite3 ssl
 statistics struct subprocess tarfile tomllib unittest urllib uuid xml zipfile zlib zoneinfo""".split()
)
MODULES_OF_PYTHON = frozenset(getattr(sys, "stdlib_module_names", _COMMON))  # Python 3.9 has no list.


def is_overridden(cls: type, *names: str) -> bool:
    """Whether an enumeration has code of its own for any of these."""
    return any(getattr(getattr(cls, name), "__module__", None) not in ("enum", "builtins", None) for name in names)


def imported(module: str, name: str) -> Any:
    """Something of a module that is imported here already, or one of Python's that runs no code of note."""
    if module not in sys.modules and module.partition(".")[0] in _COMMON:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _class_of(key: tuple[str, str], make: Any) -> Optional[type]:
    found = make if isinstance(make, type) else imported(*key)
    return found if isinstance(found, type) else None


# How instances of a class are made, by its `id`: so that the class itself is a value like any other.
MAKERS = {id(cls): make for key, make in CALLS.items() for cls in [_class_of(key, make)] if cls is not None}
