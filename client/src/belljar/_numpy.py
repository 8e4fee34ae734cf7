"""numpy's arrays and scalars, read without trust: plain types of elements, and exactly the bytes they take."""

from __future__ import annotations

import importlib
import re
from typing import Any, Optional

_PLAIN = re.compile(r"[<>|=]?[?biufcmMSUV]\d{0,9}(\[[a-zA-Z0-9]{1,8}\])?")


def find(module: str, name: str) -> Optional[Any]:
    """What a name of numpy's stands for, if it may be used."""
    part = module.rpartition(".")[2]
    calls = {("multiarray", "_reconstruct"): _reconstruct, ("multiarray", "scalar"): _scalar, ("numpy", "dtype"): _dtype}
    if (part, name) == ("numpy", "ndarray"):
        return _numpy().ndarray
    return calls.get((part, name))


def _numpy() -> Any:
    return importlib.import_module("numpy")


def _refuse(what: str) -> Exception:
    from ._plain import Refused

    return Refused(what)


def _dtype(code: Any, *_: Any) -> Any:
    if type(code) is not str or not _PLAIN.fullmatch(code):
        raise _refuse(f"an array of `{code}`")
    return _numpy().dtype(code)


def _reconstruct(cls: Any, shape: Any, code: Any) -> Any:
    if cls is not _numpy().ndarray:
        raise _refuse("a subclass of an array")
    return _numpy().ndarray((0,), "b")


def _scalar(dtype: Any, data: Any) -> Any:
    if type(data) is not bytes or len(data) != dtype.itemsize:
        raise _refuse("a scalar that does not fill its type")
    return _numpy().frombuffer(data, dtype)[0]


def set_state(instance: Any, state: Any) -> None:
    """Fills an array or a type of elements."""
    numpy = _numpy()
    if isinstance(instance, numpy.dtype):
        _, order, subtype, names, fields = state[:5]
        if (subtype, names, fields) != (None, None, None) or order not in ("<", "|", "="):
            raise _refuse("an array of records, or of another byte order")
        if instance.kind in "mM" or instance.kind not in "?biufcSUV":
            instance.__setstate__(state)
        return
    if type(instance) is not numpy.ndarray:
        raise _refuse("state for a part of numpy")
    _, shape, dtype, is_fortran, data = state
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise _refuse("an array of no size")
        count *= length
    if dtype.hasobject or type(data) is not bytes or len(data) != count * dtype.itemsize:
        raise _refuse("an array whose bytes do not fill it")
    instance.__setstate__((1, shape, dtype, bool(is_fortran), data))
