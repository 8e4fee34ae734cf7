"""A call on its way: what is asked of the service, and who is told how it ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Mapping, NamedTuple, Optional, Protocol, Union

from ._errors import SerializationError, task_error
from ._graph import Graph
from ._packed import BINARY_BYTES
from ._pickling import encode, payload
from ._reading import SAFE, TRUSTED, Reader
from ._records import own_python
from ._values import Reference


@dataclass(frozen=True)
class Options:
    """What a call is asked to be, beside its function and arguments; None leaves it to the service.

    `runtime`, `timeout`, `memory_mb`, `retries`, what it may reach (`env`, `read`, `scratch_mb`, `http`), what its worker
    must have (`labels`, such as `{"gpu": "a100"}`), the packages it imports (`requirements`, such as `["jinja2==3.1.4"]`) and whether it starts
    with its modules imported (`warm`) are what the function is registered with; `priority`, `delay`, `idempotency_key`, `files` (names and contents) and
    `outputs` (patterns) are the call's own, and so is `keep`: what it returns stays with the service. `results`, `allow` and `py_modules` are for this side: how results are read,
    and which modules travel along.
    """

    runtime: Optional[str] = None
    timeout: Optional[float] = None
    memory_mb: Optional[int] = None
    retries: Optional[int] = None
    env: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    scratch_mb: int = 0
    http: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    requirements: tuple[str, ...] = ()
    warm: Optional[str] = None
    priority: Optional[str] = None
    delay: Optional[float] = None
    idempotency_key: Optional[str] = None
    files: tuple[tuple[str, bytes], ...] = ()
    outputs: tuple[str, ...] = ()
    keep: bool = False
    session: Optional[str] = None
    results: Optional[str] = None
    allow: tuple[type, ...] = ()
    py_modules: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: options are a key for every call."""
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    def but(self, changes: Mapping[str, Any]) -> Options:
        """These options with changes; what they are not is an error that names those there are."""
        unknown = sorted(set(changes) - set(self.__dataclass_fields__))
        if unknown:
            raise TypeError(f"there is no option `{unknown[0]}`: there are {', '.join(self.__dataclass_fields__)}")
        lists = {name: _listed(changes[name]) for name in ("env", "read", "http", "requirements", "allow", "outputs") if name in changes}
        if "files" in changes:
            lists["files"] = tuple((name, _content(name, content)) for name, content in dict(changes["files"]).items())
        if "labels" in changes:
            lists["labels"] = tuple(sorted((str(name), str(value)) for name, value in dict(changes["labels"]).items()))
        if "py_modules" in changes:
            lists["py_modules"] = tuple(getattr(module, "__name__", module) for module in _listed(changes["py_modules"]))
        if changes.get("warm") not in (None, "auto", "always", "never"):
            raise ValueError(f"warm is `{changes['warm']}`: it must be `auto`, `always` or `never`")
        if changes.get("results") not in (None, TRUSTED, SAFE):
            raise ValueError(f"results is `{changes['results']}`: it must be `{SAFE}` or `{TRUSTED}`")
        return replace(self, **{**changes, **lists})

    def given(self) -> dict[str, Any]:
        """Those that are not left as they are."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if value != field.default}

    @cached_property
    def of_function(self) -> Options:
        """These without what is a single call's own."""
        own: dict[str, Any] = {"priority": None, "delay": None, "idempotency_key": None, "files": (), "outputs": (), "keep": False, "session": None}
        return self if all(getattr(self, name) == value for name, value in own.items()) else replace(self, **own)

    def registration(self) -> dict[str, Any]:
        """The fields of a registration."""
        named = {
            "runtime": self.runtime,
            "timeout_s": self.timeout,
            "memory_mb": self.memory_mb,
            "max_retries": self.retries,
            "grants": self._grants() or None,
            "labels": dict(self.labels) or None,
            "requirements": list(self.requirements) or None,
            "warm": self.warm,
        }
        return {name: value for name, value in named.items() if value is not None}

    def _grants(self) -> dict[str, Any]:
        grants = {"env": list(self.env), "read": list(self.read), "scratch_mb": self.scratch_mb, "http": list(self.http)}
        return {name: value for name, value in grants.items() if value}

    @cached_property
    def submission(self) -> str:
        """The fields of a submission, as members of a JSON object, each with a comma behind it."""
        fields = self.submission_fields
        if "files" in fields:
            fields["files"] = {name: encode(content) for name, content in self.files}
        return "".join(f'"{name}":{json.dumps(value)},' for name, value in fields.items())

    @property
    def submission_fields(self) -> dict[str, Any]:
        """The fields of a submission, with the contents of files as they are."""
        named = {
            "priority": self.priority,
            "delay_s": self.delay,
            "session_id": self.session,
            "files": dict(self.files) or None,
            "outputs": list(self.outputs) or None,
        }
        return {name: value for name, value in named.items() if value is not None}

    @cached_property
    def has_large_files(self) -> bool:
        """Whether base64 of the files would cost something."""
        return sum(len(content) for _, content in self.files) >= BINARY_BYTES


def _listed(value: Any) -> tuple[Any, ...]:
    """Several values, or one that stands alone."""
    return (value,) if isinstance(value, (str, type)) or hasattr(value, "__fspath__") else tuple(value)


def _content(name: str, content: Any) -> bytes:
    """What a file is to hold: bytes, a text, or the content of a file here that a path names."""
    if isinstance(content, str):
        return content.encode()
    if hasattr(content, "__fspath__"):
        with open(content, "rb") as file:
            return file.read()
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    raise TypeError(f"the content of the file `{name}` is a {type(content).__name__}: expected bytes, a text or a path")


class FunctionRef:
    """A pickled function with what it is registered with; `key` is equal for equal content."""

    __slots__ = ("_reader", "fields", "graph", "key", "options", "runtime")

    def __init__(self, name: str, pickled: bytes, options: Options, graph: Optional[Graph]) -> None:
        more = options.registration()
        self.fields = {"name": name, "payload": payload(pickled), "python": own_python(), **more}
        self.key = hashlib.sha256(pickled).digest() + repr(sorted(more.items())).encode()
        self.graph = graph
        self.options = options
        # Where the calls run, once that is known.
        self.runtime = options.runtime or ""
        self._reader: Optional[Reader] = None

    @property
    def is_runtime_known(self) -> bool:
        """Whether there is nothing to ask about how to read results."""
        return bool(self.runtime or self.options.results)

    def reader(self) -> Reader:
        """How the results are read."""
        if self._reader is None:
            self._reader = reader(self.options, self.runtime, self.graph)
        return self._reader


class Reattached:
    """Tasks that were submitted before: nothing is known of what was sent with them."""

    def __init__(self, options: Options) -> None:
        self._reader = reader(options, options.runtime)

    def reader(self) -> Reader:
        """How the results are read."""
        return self._reader


def reader(options: Options, runtime: Optional[str], graph: Optional[Graph] = None) -> Reader:
    """How results are read: those of sandboxed calls as what they are, data of unknown origin."""
    results = options.results or (TRUSTED if runtime == "native" else SAFE)
    return Reader(results, options.allow, graph)


class HasReader(Protocol):
    """What knows how results are read."""

    def reader(self) -> Reader:
        """It."""


class PendingCall(Protocol):
    """A call that somebody waits for: a future of some kind."""

    task_id: Optional[str]
    # How its result is read.
    source: HasReader
    # Whether somebody must be called at the end, which is the loop's to do.
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

    pending: PendingCall
    function: FunctionRef
    payload: Union[str, bytes]
    options: Options
    # What names the span that it was made in: see `_trace`.
    headers: str


def finish(pending: PendingCall, result: Mapping[str, Any], keep: bool = False) -> None:
    """Passes on how a task ended; with `keep`, a reference to what it has returned."""
    status = result["status"]
    if status == "CANCELLED":
        pending.ended_cancelled()
        return
    if keep and status == "COMPLETED":
        executor = getattr(pending, "_executor", None)
        pending.set_result(Reference(f"task:{result['task_id']}", executor, pending.source))
        return
    reader = pending.source.reader()
    if status == "COMPLETED":
        try:
            value = reader.read(result["result"])
        except SerializationError as unreadable:
            pending.set_exception(unreadable)
        else:
            pending.set_result(value)
    else:
        error = reader.read_exception(result["result"])
        pending.set_exception(task_error(result.get("failure", ""), error, result["task_id"]))
