"""What the service tells about tasks, functions and workers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any, Mapping, Optional, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Durations:
    """Where the time of a task went, in milliseconds; None where it has not gone yet.

    `queue` is from acceptance to the start of the last attempt, `run` from there to its end, `slot` the
    part of that in the worker's slot; `instance`, `decode`, `call` and `encode` are the parts of a slot's
    work: a fresh sandbox, unpickling, the function itself, pickling its result. `cpu` is processor time.
    """

    queue: Optional[float] = None
    run: Optional[float] = None
    slot: Optional[float] = None
    instance: Optional[float] = None
    decode: Optional[float] = None
    call: Optional[float] = None
    encode: Optional[float] = None
    cpu: Optional[float] = None


@dataclass(frozen=True)
class Failure:
    """Why a task failed: `kind` is the service's word, `message` the exception in one line."""

    kind: str
    message: str
    traceback: str = ""
    hint: Optional[str] = None


@dataclass(frozen=True)
class Output:
    """The end of what a call wrote, and how much it wrote in all."""

    text: str = ""
    total_bytes: int = 0


@dataclass(frozen=True)
class FileEntry:
    """A file that a call left: its path in the call's working directory, and its length."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Progress:
    """How far a call has come, as its function says: `done` of `total`, if that is known, and what it does now."""

    done: float
    total: Optional[float] = None
    note: str = ""


@dataclass(frozen=True)
class Start:
    """How a sandboxed call started: `warm`, with the modules of its function imported, or `why` without."""

    warm: bool
    why: Optional[str] = None


@dataclass(frozen=True)
class TaskEvent:
    """What a task tells while it runs. `kind` is "stdout" or "stderr" (`text`, before which `skipped` bytes are left out of one
    that writes much), "progress", "attempt" (it runs once more: its output begins anew), or at last "end" (its `status`)."""

    kind: str
    text: str = ""
    skipped: int = 0
    progress: Optional[Progress] = None
    attempt: Optional[int] = None
    status: Optional[str] = None


@dataclass(frozen=True)
class TaskRecord:
    """Everything that the service knows about a task.

    Times are texts in RFC 3339 form. `attempts` counts how often the task was started, `losses` tells
    what became of the attempts that were lost. `result_kind` is "data" where loading the result runs nothing
    but constructors of plain values and builtin exceptions, else "objects"; `result_globals` has what it names
    beside those, and `result_unreadable` why it may name more. `trace_id` is that of a call which is traced, `start` says of a
    sandboxed one whether it started `warm`, with the modules of its function imported, or `why` not. `raw` is the record as it came.
    """

    task_id: str
    function_id: str
    status: str
    runtime: str
    python: str
    priority: str
    attempts: int
    deaths: int
    losses: tuple[str, ...]
    accepted_at: str
    started_at: Optional[str]
    finished_at: Optional[str]
    expires_at: Optional[str]
    durations_ms: Durations
    start: Optional[Start]
    worker: Optional[str]
    failure: Optional[Failure]
    progress: Optional[Progress]
    peak_memory_bytes: Optional[int]
    stdout: Output
    stderr: Output
    files: tuple[FileEntry, ...]
    args_bytes: int
    result_bytes: int
    result_kind: Optional[str]
    result_globals: tuple[str, ...]
    result_unreadable: Optional[str]
    trace_id: Optional[str]
    raw: Mapping[str, Any]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> TaskRecord:
        """Reads a record."""
        known: dict[str, Any] = {field.name: raw.get(field.name) for field in fields(cls)}
        known.update(
            losses=tuple(raw.get("losses", ())),
            result_globals=tuple(raw.get("result_globals", ())),
            durations_ms=_read(Durations, raw.get("durations_ms") or {}),
            start=_read(Start, raw["start"]) if raw.get("start") else None,
            failure=_read(Failure, raw["failure"]) if raw.get("failure") else None,
            progress=_read(Progress, raw["progress"]) if raw.get("progress") else None,
            stdout=_read(Output, raw.get("stdout") or {}),
            stderr=_read(Output, raw.get("stderr") or {}),
            files=tuple(_read(FileEntry, file) for file in raw.get("files", ())),
            raw=raw,
        )
        return cls(**known)


def _read(cls: type[_T], raw: Mapping[str, Any]) -> _T:
    """An instance of a data class from those of `raw` that it knows: the service may come to tell more."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in raw.items() if name in names})


def own_python() -> str:
    """The minor of this Python, as functions are registered for."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
