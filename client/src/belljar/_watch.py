"""Notices that a function, or something it refers to, has changed since it was pickled.

Pickling a function takes a tenth of a millisecond, too long for every call. Comparing what it refers to, by
identity, takes one or two microseconds; only what can change inside is compared by content.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import pickle
import re
import types
import uuid
from typing import Any, Callable, Iterable, Iterator, Optional

from . import _modules, _unnamed

_MISSING = object()
# What cannot change inside, or is watched by itself.
_FIXED = (
    *(int, float, complex, str, bytes, bool, type(None), type(...), range, slice),
    *(type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.CodeType, re.Pattern),
    *(decimal.Decimal, fractions.Fraction, datetime.date, datetime.time, datetime.timedelta, uuid.UUID),
    *(pathlib.PurePath, types.GetSetDescriptorType, types.MemberDescriptorType, types.WrapperDescriptorType),
)
_WRAPPERS = (classmethod, staticmethod, property)


class Watch:
    """What a pickled function referred to."""

    def __init__(
        self,
        function: Callable[..., Any],
        functions: Iterable[types.FunctionType],
        classes: Iterable[type],
        modules: Iterable[str],
        files: list[tuple[str, tuple[int, int]]],
        named: list[tuple[dict[str, Any], str, Any]],
        subclasses: list[type],
    ) -> None:
        self._names = named
        self._subclasses = subclasses
        self._cells: list[tuple[types.CellType, Any]] = []
        self._parts: list[tuple[types.FunctionType, tuple[Any, ...]]] = []
        self._classes = [(cls, dict(vars(cls))) for cls in classes]
        self._modules = tuple(modules)
        self._files = files
        self._root = _parts(function) if isinstance(function, types.FunctionType) else ()
        changeable = [value for _, _, value in named if _may_change(value)]
        for watched in functions:
            self._look_at(watched, changeable, is_root=watched is function)
        for _, attributes in self._classes:
            changeable += (value for key, value in attributes.items() if not key.startswith("__") and _may_change(value))
        if _may_change(function) and not isinstance(function, _WRAPPERS):
            changeable += _around(function)
        self._changeable = changeable
        self._content = self._read()

    def _look_at(self, function: types.FunctionType, changeable: list[Any], is_root: bool) -> None:
        if not is_root:  # The root is who asks: holding it would keep it alive.
            self._parts.append((function, _parts(function)))
        names = function.__globals__
        for name in _global_names(function.__code__):
            value = names.get(name, _MISSING)
            if value is not function:
                self._names.append((names, name, value))
                changeable += [value] if _may_change(value) else []
        for cell in function.__closure__ or ():
            value = _content_of(cell)
            if value is not function:
                self._cells.append((cell, value))
                changeable += [value] if _may_change(value) else []
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *vars(function).values()]
        changeable += filter(_may_change, defaults)

    def is_current(self, function: Callable[..., Any]) -> bool:
        """Whether everything is as it was."""
        if self._root and not _has_parts(function, self._root):
            return False
        for names, name, value in self._names:
            if names.get(name, _MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _content_of(cell) is not value:
                return False
        for function, parts in self._parts:
            if not _has_parts(function, parts):
                return False
        for cls, attributes in self._classes:
            now = vars(cls)
            if len(now) != len(attributes) or any(now.get(key) is not value for key, value in attributes.items()):
                return False
        if self._subclasses and [*_unnamed.subclasses(cls for cls, _ in self._classes)] != self._subclasses:
            return False
        if self._changeable or self._modules:
            content = self._read()
            if content is None or content != self._content:
                return False
        for path, stamp in self._files:
            if _stamp(path) != stamp:
                return False
        return True

    def _read(self) -> Optional[bytes]:
        """The content of what can change inside; None where only pickling it anew can tell."""
        values = [_modules.values(name) for name in self._modules]
        try:
            return pickle.dumps((self._changeable, values), 4)
        except Exception:
            return None


def _parts(function: types.FunctionType) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _has_parts(function: Any, parts: tuple[Any, ...]) -> bool:
    code, defaults, kwdefaults = parts
    return function.__code__ is code and function.__defaults__ is defaults and function.__kwdefaults__ is kwdefaults


def _may_change(value: Any) -> bool:
    if value is _MISSING or isinstance(value, _FIXED):
        return False
    if isinstance(value, _WRAPPERS):
        return False
    if type(value) in (tuple, frozenset):
        return any(_may_change(item) for item in value)
    return True


def _around(function: Any) -> Iterator[Any]:
    """What a callable that is no function holds: a method its instance, a partial its arguments."""
    if isinstance(function, types.MethodType):
        yield function.__self__
    else:
        yield function


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _content_of(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _stamp(path: str) -> Optional[tuple[int, int]]:
    try:
        return _modules.stamp(path)
    except OSError:
        return None
