"""Values that the service keeps: uploaded once, or returned by a call and left there; arguments refer to them."""

from __future__ import annotations

import hashlib
import io
import itertools
import pickle
from typing import TYPE_CHECKING, Any, Callable, Generic, Iterable, Optional, TypeVar

import dill

from ._arrays import ARRAY_PROTOCOL
from ._errors import SerializationError, ServiceError
from ._packed import in_frames

if TYPE_CHECKING:
    from ._calls import HasReader
    from ._executor import Executor

T = TypeVar("T")

# From this size on an argument that repeats is sent once.
SHARED_BYTES = 1 << 20


class ReferenceFound(SerializationError):
    """What is pickled has a reference inside."""

    SENTENCE = "a Reference can be an argument, or stand in one; hint: pass it as such, not within a function or a value"


class Reference(Generic[T]):
    """A value that the service keeps, made by `put` or by a call with `keep=True`.

    As an argument, or anywhere in one, it stands for the value: the call gets that. It is kept for as long as results are, after
    the last call that refers to it. `id` makes the reference again, also in another program: `Reference(id)`.
    """

    __slots__ = ("__weakref__", "_executor", "_source", "id")

    def __init__(self, id: str, executor: Optional[Executor] = None, source: Optional[HasReader] = None) -> None:
        kind, _, name = id.partition(":")
        if kind not in ("blob", "task") or not name:
            raise ValueError(f"`{id}` is the id of no value: expected `blob:ID` or `task:ID`")
        self.id = id
        self._executor = executor
        self._source = source

    def get(self) -> T:
        """The value itself. That of a sandboxed call is read as its result would be."""
        from ._function import default_executor

        value: T = (self._executor or default_executor()).get(self)
        return value

    def delete(self) -> None:
        """Has an uploaded value forgotten now. Calls that were accepted before still get it."""
        from ._function import default_executor

        (self._executor or default_executor())._delete(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<belljar.Reference {self.id}>"

    def __reduce__(self) -> Any:
        raise ReferenceFound(ReferenceFound.SENTENCE)


def persistent_id(thing: Any) -> Optional[str]:
    """What picklers of arguments write in place of a reference."""
    return thing.id if type(thing) is Reference else None


class _PlainPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Optional[str]:
        return persistent_id(obj)


class _DillPickler(dill.Pickler):  # type: ignore[misc, unused-ignore]
    def persistent_id(self, obj: Any) -> Optional[str]:
        return persistent_id(obj)


def dump_referring(value: Any, protocol: int) -> bytes:
    """A pickle in which references stand for what they refer to."""
    file = io.BytesIO()
    try:
        _PlainPickler(file, protocol).dump(value)
        if b"__main__" not in file.getvalue():
            return file.getvalue()
    except Exception:
        pass
    file = io.BytesIO()
    _DillPickler(file, protocol, recurse=True).dump(value)
    return file.getvalue()


def dump_value(value: Any) -> bytes:
    """The pickle of a value that calls will refer to. Classes of the script travel with it."""
    from ._graph import dump_alone

    try:
        try:
            pickled = pickle.dumps(value, ARRAY_PROTOCOL)
            if not in_frames(pickled, b"__main__"):
                return pickled
        except ReferenceFound:
            raise
        except Exception:
            pass
        return dump_alone(value)
    except ReferenceFound:
        raise
    except Exception as error:
        raise SerializationError(f"the value of type `{type(value).__name__}` cannot be pickled: {error}") from error


def sha256(value: bytes) -> bytes:
    """The hash under which the service knows a value."""
    return hashlib.sha256(value).digest()


def referring(value_id: str) -> bytes:
    """A pickle that is nothing but a reference."""
    text = value_id.encode()
    return b"\x80\x04\x8c" + bytes([len(text)]) + text + b"Q."


def shared(iterables: tuple[Iterable[Any], ...], put: Callable[[Any], Reference[Any]]) -> list[Iterable[Any]]:
    """The arguments of a map, with a reference in place of each large one that is the same in all calls: it is sent once."""
    return [_shared(iterable, put) for iterable in iterables]


def _shared(iterable: Iterable[Any], put: Callable[[Any], Reference[Any]]) -> Iterable[Any]:
    if type(iterable) is itertools.repeat:
        value = next(iter(iterable), None)
        # That took one from it.
        iterable = itertools.chain((value,), iterable)
    elif type(iterable) in (list, tuple) and len(iterable) > 1 and iterable[0] is iterable[1]:  # type: ignore[index, arg-type]
        value = iterable[0]  # type: ignore[index]
    else:
        return iterable
    if _size(value) < SHARED_BYTES:
        return iterable
    try:
        reference = put(value)
    except ServiceError:  # It takes no values: each call brings it.
        return iterable
    return (reference if item is value else item for item in iterable)


def _size(value: Any) -> int:
    """About how many bytes a value has, where that is quickly told."""
    size = getattr(value, "nbytes", None)
    if type(size) is int:
        return size
    return len(value) if isinstance(value, (bytes, bytearray, str)) else 0
