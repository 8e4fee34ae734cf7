"""A call on its way: what is asked of the service, and who is told how it ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any, Mapping, NamedTuple, Optional, Protocol

from ._errors import SerializationError, task_error
from ._pickling import encode, load
from ._records import own_python


@dataclass(frozen=True)
class Options:
    """What a call is asked to be, beside its function and arguments; None leaves it to the service.

    `runtime`, `timeout`, `memory_mb`, `retries` and what it may reach (`env`, `read`, `scratch_mb`) are what
    the function is registered with; `priority`, `delay` and `idempotency_key` are the call's own.
    """

    runtime: Optional[str] = None
    timeout: Optional[float] = None
    memory_mb: Optional[int] = None
    retries: Optional[int] = None
    env: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    scratch_mb: int = 0
    priority: Optional[str] = None
    delay: Optional[float] = None
    idempotency_key: Optional[str] = None

    def but(self, changes: Mapping[str, Any]) -> Options:
        """These options with changes; what they are not is an error that names those there are."""
        unknown = sorted(set(changes) - set(self.__dataclass_fields__))
        if unknown:
            raise TypeError(f"there is no option `{unknown[0]}`: there are {', '.join(self.__dataclass_fields__)}")
        lists = {name: tuple(changes[name]) for name in ("env", "read") if name in changes}
        return replace(self, **{**changes, **lists})

    def given(self) -> dict[str, Any]:
        """Those that are not left as they are."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if value != field.default}

    def registration(self) -> dict[str, Any]:
        """The fields of a registration."""
        named = {
            "runtime": self.runtime,
            "timeout_s": self.timeout,
            "memory_mb": self.memory_mb,
            "max_retries": self.retries,
            "grants": self._grants() or None,
        }
        return {name: value for name, value in named.items() if value is not None}

    def _grants(self) -> dict[str, Any]:
        grants = {"env": list(self.env), "read": list(self.read), "scratch_mb": self.scratch_mb}
        return {name: value for name, value in grants.items() if value}

    def submission(self) -> dict[str, Any]:
        """The fields of a submission."""
        named = {"priority": self.priority, "delay_s": self.delay}
        return {name: value for name, value in named.items() if value is not None}


class Code:
    """A pickled function with what it is to be registered with; equal for equal content."""

    __slots__ = ("fields", "key")

    def __init__(self, name: str, pickled: bytes, options: Options) -> None:
        more = options.registration()
        self.fields = {"name": name, "payload": encode(pickled), "python": own_python(), **more}
        self.key = hashlib.sha256(pickled).digest() + repr(sorted(more.items())).encode()


class Waiting(Protocol):
    """Whoever waits for a call: a future of some kind."""

    task_id: Optional[str]
    # Whether somebody is to be called at the end, which is the loop's to do.
    has_callbacks: bool

    def done(self) -> bool:
        """Whether there is nothing more to be told, as after a cancel."""

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""

    def set_result(self, result: Any) -> None:
        """The function returned."""

    def set_exception(self, exception: Optional[BaseException]) -> None:
        """The function raised, or the call could not be made."""

    def ended_cancelled(self) -> None:
        """The task was cancelled."""


class Call(NamedTuple):
    """One call, ready to go out."""

    waiting: Waiting
    code: Code
    payload: str
    options: Options


def finish(waiting: Waiting, result: Mapping[str, str]) -> None:
    """Tells who waits how a task ended."""
    if result["status"] == "CANCELLED":
        waiting.ended_cancelled()
        return
    try:
        value = load(result["result"])
    except SerializationError as error:
        waiting.set_exception(error)
        return
    if result["status"] == "COMPLETED":
        waiting.set_result(value)
    else:
        waiting.set_exception(task_error(result.get("failure", ""), value, result["task_id"]))
