"""Reads the results of calls.

The result of a native call is trusted as the service is: it is loaded as any pickle. What a sandboxed
function returns is as untrusted as the function: only data is loaded, and the classes that this program sent
with the call, whose instances are made from their state alone. No code that came back runs, and none of the
program's own is called with what came back.
"""

from __future__ import annotations

import io
import pickle
import sys
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any, Optional, Union

import cloudpickle.cloudpickle as _cloudpickle
import dill

from ._errors import RemoteError, SerializationError, UntrustedResult
from ._packed import BINARY_BYTES, Pickled, has_names
from ._plain import Refused
from ._safe import SafeUnpickler, known_exception, set_exception_state
from ._scan import UnsafePickle, scan

if TYPE_CHECKING:
    from ._graph import Graph

TRUSTED = "trusted"
SAFE = "safe"


class Reader:
    """How the results of some calls are read: `results` is "trusted" or "safe"; with "safe", `allow` has
    classes that are loaded all the same."""

    def __init__(self, results: str, allow: tuple[type, ...] = (), graph: Optional[Graph] = None) -> None:
        self._is_trusted = results == TRUSTED
        self._allow = allow
        self._graph = graph

    def read(self, result: Union[str, Pickled]) -> Any:
        """What a function returned."""
        pickled = a2b_base64(result) if isinstance(result, str) else result
        if self._is_trusted:
            return self._trust(pickled)
        try:
            return self._read_safely(pickled, is_exception=False)
        except (Refused, UnsafePickle) as error:
            raise UntrustedResult(f"the result cannot be read safely: {error}; {_WAY_OUT}") from None
        except Exception as error:
            raise SerializationError(f"the result cannot be unpickled here: {type(error).__name__}: {error}") from error

    def read_exception(self, result: Union[str, Pickled]) -> BaseException:
        """What a function raised; a `RemoteError` where that cannot be had."""
        pickled = a2b_base64(result) if isinstance(result, str) else result
        try:
            error = self._trust(pickled) if self._is_trusted else self._read_safely(pickled, is_exception=True)
        except (Refused, UnsafePickle) as refused:
            return RemoteError(f"the function raised an exception that cannot be read safely: {refused}; {_WAY_OUT}")
        except Exception as failure:
            try:  # Its class is not to be had here: its text and its traceback are.
                error = self._read_safely(pickled, is_exception=True)
            except Exception:
                return RemoteError(f"the function raised an exception that cannot be unpickled here: {failure}")
        return error if isinstance(error, BaseException) else RemoteError(f"the function raised {error!r}")

    def _trust(self, pickled: Pickled) -> Any:
        try:
            if _is_plain(pickled):
                return pickle.loads(pickled)
            return _TrustingUnpickler(_file(pickled)).load()
        except Exception as error:
            raise SerializationError(f"the result cannot be unpickled here: {type(error).__name__}: {error}") from error

    def _read_safely(self, pickled: Pickled, *, is_exception: bool) -> Any:
        pickled = bytes(pickled)
        if not scan(pickled):
            return pickle.loads(pickled)
        return SafeUnpickler(pickled, self._graph, self._allow, is_exception=is_exception).load()


def _is_plain(pickled: Pickled) -> bool:
    """Whether a pickle certainly names nothing that dill would find otherwise."""
    if pickled[:2] in (b"\x80\x04", b"\x80\x05") and len(pickled) >= BINARY_BYTES:
        return not has_names(pickled)
    return b"\x93" not in bytes(pickled) and b"c" not in bytes(pickled)


class _View:
    """A large pickle as a file, without the copy of it that `BytesIO` makes."""

    def __init__(self, data: Pickled) -> None:
        self._data = memoryview(data)
        self._at = 0

    def read(self, length: int) -> bytes:
        return bytes(self._take(length))

    def readinto(self, buffer: memoryview) -> int:
        taken = self._take(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def readline(self) -> bytes:
        size = 1 << 10
        while True:
            end = bytes(self._data[self._at : self._at + size]).find(b"\n") + 1
            if end or self._at + size >= len(self._data):
                return bytes(self._take(end or size))
            size *= 8

    def _take(self, length: int) -> memoryview:
        taken = self._data[self._at : self._at + length]
        self._at += len(taken)
        return taken


def _file(pickled: Pickled) -> Any:
    return _View(pickled) if len(pickled) >= _LARGE_BYTES else io.BytesIO(pickled)


_LARGE_BYTES = 1 << 20
_WAY_OUT = 'hint: results="trusted" where you trust the function, or allow=[CLASS]'


class _TrustingUnpickler(dill.Unpickler):  # type: ignore[misc, unused-ignore]
    """dill's, which finds the classes of this program by their tracker ids."""

    _main = sys.modules["__main__"]
    _ignore = False
    __init__ = pickle.Unpickler.__init__
    load = pickle.Unpickler.load

    def find_class(self, module: str, name: str) -> Any:
        if module == "runner_pickles":
            return _OF_RUNNER[name]
        if module in ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast") and name == "_class_setstate":
            return _fill_class
        return dill.Unpickler.find_class(self, module, name)


def _known_class(tracker_id: str) -> Any:
    return _cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[tracker_id]


_OF_RUNNER: dict[str, Any] = {
    "known_class": _known_class,
    "known_exception": known_exception,
    "set_exception_state": set_exception_state,
}


def _fill_class(cls: Any, state: Any) -> Any:
    attributes, _ = state
    attributes.pop("__belljar_members__", None)
    attributes.pop("__belljar_registered__", None)
    return _cloudpickle._class_setstate(cls, state)
