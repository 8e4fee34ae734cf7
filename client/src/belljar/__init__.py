"""Python functions on a belljar service, as with the standard library.

    import belljar

    with belljar.Executor(runtime="sandbox") as executor:
        print(executor.submit(sum, [1, 2, 3]).result())
"""

from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED, as_completed, wait

from ._async import AsyncExecutor
from ._client import Client
from ._errors import (
    AccessDenied,
    BelljarError,
    CallNotDecoded,
    Conflict,
    ExecutorDied,
    InvalidRequest,
    LimitReached,
    NotFound,
    NotInSandbox,
    PythonMismatch,
    QuotaExceeded,
    RemoteError,
    ResultNotEncoded,
    SandboxDenied,
    SerializationError,
    ServiceError,
    ServiceUnreachable,
    TaskFailed,
    TaskOutOfMemory,
    TaskTimeout,
    TooLarge,
    UntrustedResult,
    WorkerLost,
)
from ._executor import Executor
from ._function import Function, default_executor, function, put, set_default_executor
from ._future import AsyncFuture, Future
from ._progress import progress
from ._session import AsyncSession, Session
from ._records import Durations, Failure, FileEntry, Output, Progress, Start, TaskEvent, TaskRecord
from ._values import Reference

__version__ = "0.1.0"

# Known by the names under which they are imported, as in a traceback.
for _public in list(vars().values()):
    if getattr(_public, "__module__", "").startswith("belljar._"):
        _public.__module__ = "belljar"

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AccessDenied",
    "AsyncExecutor",
    "AsyncFuture",
    "AsyncSession",
    "BelljarError",
    "CallNotDecoded",
    "Client",
    "Conflict",
    "Durations",
    "Executor",
    "ExecutorDied",
    "Failure",
    "FileEntry",
    "Function",
    "Future",
    "InvalidRequest",
    "LimitReached",
    "NotFound",
    "NotInSandbox",
    "Output",
    "Progress",
    "PythonMismatch",
    "QuotaExceeded",
    "Reference",
    "RemoteError",
    "ResultNotEncoded",
    "SandboxDenied",
    "SerializationError",
    "ServiceError",
    "ServiceUnreachable",
    "Session",
    "Start",
    "TaskEvent",
    "TaskFailed",
    "TaskOutOfMemory",
    "TaskRecord",
    "TaskTimeout",
    "TooLarge",
    "UntrustedResult",
    "WorkerLost",
    "as_completed",
    "default_executor",
    "function",
    "progress",
    "put",
    "set_default_executor",
    "wait",
]
