"""Everything that this package raises.

BelljarError
├── SerializationError (TypeError)          a function, its arguments or a result cannot be pickled
│   └── UntrustedResult                         a sandboxed call returned what would run code here
├── RemoteError                             the function raised an exception whose class is not known here
├── ServiceError (RuntimeError)             the service did not do what was asked
│   ├── ServiceUnreachable (ConnectionError)    no answer, for longer than is retried
│   ├── InvalidRequest (ValueError)             refused, with the reason
│   │   ├── PythonMismatch                          the service runs another minor of Python
│   │   └── NotInSandbox (ImportError)              a module that cannot work in the sandbox
│   ├── AccessDenied                            no key, or one that does not allow it
│   ├── NotFound (LookupError)                  an id that the service does not know
│   ├── QuotaExceeded                           more than the tenant may use, or than the service takes now
│   ├── Conflict                                an idempotency key used for something else, a task that has ended
│   └── TooLarge                                more than the service takes in one request
└── TaskFailed                              the platform, not the function, ended the call
    ├── TaskTimeout (TimeoutError)              the deadline passed
    ├── TaskOutOfMemory (MemoryError)           the memory limit was reached
    ├── SandboxDenied (PermissionError)         the sandbox does not grant what was asked for
    ├── LimitReached (RuntimeError)             another limit, such as the size of a result
    ├── ExecutorDied (RuntimeError)             the process that ran the call died, as often as is retried
    ├── WorkerLost (RuntimeError)               the worker disappeared, as often as is retried
    ├── CallNotDecoded (ValueError)             the function or its arguments cannot be unpickled there
    └── ResultNotEncoded (ValueError)           the return value cannot be pickled there

An exception that the function raised is none of these: it comes back as itself, with the traceback
from there as a note on it.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Mapping, Optional


class BelljarError(Exception):
    """The base of everything that this package raises."""


class SerializationError(BelljarError, TypeError):
    """A function, its arguments or a result cannot be pickled or unpickled here."""


class UntrustedResult(SerializationError):
    """A sandboxed call returned something whose reading would run code here; the message names it."""


class RemoteError(BelljarError):
    """The function raised an exception of a class that is not known here; the message has its text."""


class ServiceError(BelljarError, RuntimeError):
    """The service did not do what was asked.

    `status` is the HTTP status and `code` the service's stable word for the reason; both are empty
    where no answer came.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ServiceUnreachable(ServiceError, ConnectionError):
    """No answer came for longer than requests are retried."""


class InvalidRequest(ServiceError, ValueError):
    """The service refused a request; the message says which part of it and why."""


class PythonMismatch(InvalidRequest):
    """The service runs another minor of Python than this process; the message names both."""


class NotInSandbox(InvalidRequest, ImportError):
    """The function needs a module that cannot work in the sandbox; the message names it."""


class AccessDenied(ServiceError):
    """The service wants a key, or the key does not allow what was asked; `code` says which."""


class NotFound(ServiceError, LookupError):
    """The service does not know the id: it was never given out, or the result has expired."""


class Conflict(ServiceError):
    """An idempotency key was used before with another request, or a task has already ended."""


class QuotaExceeded(ServiceError):
    """More than the tenant may use, or than the service takes now, for longer than requests are retried.

    The message says which quota, its value and the way out. `quota` is its name in the operator's file, empty where
    the queue of the whole service is full; `retry_after` is after how many seconds the service would be asked again.
    """

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", quota: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.quota = quota
        self.retry_after = retry_after


class TooLarge(ServiceError):
    """A request is larger than the service takes: pass a reference to the data instead."""


class TaskFailed(BelljarError):
    """The platform, not the function, ended the call. `task_id` finds its record."""

    __notes__: list[str]  # Which Python 3.11 knows of.

    def __init__(self, message: str, *, task_id: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id
        self.kind = kind


class TaskTimeout(TaskFailed, TimeoutError):
    """The call reached its deadline."""


class TaskOutOfMemory(TaskFailed, MemoryError):
    """The call reached its memory limit."""


class SandboxDenied(TaskFailed, PermissionError):
    """The call asked for something that the sandbox does not grant."""


class LimitReached(TaskFailed, RuntimeError):
    """The call reached a limit, such as the size of a result."""


class ExecutorDied(TaskFailed, RuntimeError):
    """The process that ran the call died, as often as it may be retried."""


class WorkerLost(TaskFailed, RuntimeError):
    """The worker that had the call disappeared, as often as it may be retried."""


class CallNotDecoded(TaskFailed, ValueError):
    """The function or its arguments could not be unpickled where they were to run."""


class ResultNotEncoded(TaskFailed, ValueError):
    """The return value could not be pickled where the function ran."""


_KINDS: Mapping[str, type[TaskFailed]] = {
    "timeout": TaskTimeout,
    "memory": TaskOutOfMemory,
    "denied": SandboxDenied,
    "limit": LimitReached,
    "executor_died": ExecutorDied,
    "worker_lost": WorkerLost,
    "decode": CallNotDecoded,
    "encode": ResultNotEncoded,
}


def task_error(kind: str, found: Any, task_id: str) -> BaseException:
    """The exception to raise for a failed task: `found` itself where the function raised it."""
    if not isinstance(found, BaseException):  # What a service in between made of it.
        return TaskFailed(f"the task failed with {found!r}", task_id=task_id, kind=kind)
    cls = _KINDS.get(kind)
    if type(found) is MemoryError and not found.args:
        found.args = ("the call ran out of memory; hint: options(memory_mb=...) raises its limit",)
    # The function's own MemoryError says where it was raised; the platform's says nothing more.
    if cls is None or (cls is TaskOutOfMemory and notes(found)):
        return _with_notes(found, notes(found))
    return _with_notes(cls(str(found), task_id=task_id, kind=kind), notes(found))


def notes(error: BaseException) -> list[str]:
    """What Python 3.11 and later show below a traceback: here, where the function raised the error."""
    return list(getattr(error, "__notes__", None) or ())


# Past the `__setattr__` of the exception's class: that of a frozen data class refuses.
set_attribute: Callable[[BaseException, str, Any], None] = BaseException.__setattr__


def _with_notes(error: BaseException, texts: list[str]) -> BaseException:
    if texts:
        set_attribute(error, "__notes__", texts)
        if sys.version_info < (3, 11) and error.__cause__ is None:
            # Which earlier ones show above it, as they do for the standard library's pools of processes.
            set_attribute(error, "__cause__", _Remote("\n".join(texts)))
    return error


class _Remote(Exception):
    """The traceback of a task, for Pythons without notes."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def service_error(status: int, reply: Any, retry_after: float = 0.0) -> ServiceError:
    """The exception for an answer that is an error."""
    fields = reply if isinstance(reply, dict) else {}
    code = str(fields.get("code", ""))
    detail = fields.get("detail")
    problems = [problem for problem in detail if isinstance(problem, dict)] if isinstance(detail, list) else []
    message = _sentence(detail, problems) or f"the service answered with status {status}"
    if status == 429:
        quota = str(fields.get("quota", ""))
        return QuotaExceeded(message, status=status, code=code, quota=quota, retry_after=retry_after)
    cls = _class_for(status, code, {str(problem.get("type")) for problem in problems})
    return cls(message, status=status, code=code)


def _class_for(status: int, code: str, problems: set[str]) -> type[ServiceError]:
    if "python_unserved" in problems:
        return PythonMismatch
    if code == "not_in_sandbox":
        return NotInSandbox
    by_status: Mapping[int, type[ServiceError]] = {
        400: InvalidRequest,
        401: AccessDenied,
        403: AccessDenied,
        404: NotFound,
        409: Conflict,
        413: TooLarge,
        422: InvalidRequest,
    }
    return by_status.get(status, ServiceError)


def _sentence(detail: Any, problems: list[dict[str, Any]]) -> Optional[str]:
    if isinstance(detail, str):
        return detail
    texts = []
    for problem in problems:
        place = ".".join(str(step) for step in problem.get("loc", ())[1:])
        texts.append(f"{place}: {problem.get('msg', '')}" if place else str(problem.get("msg", "")))
    return "; ".join(texts) or None
