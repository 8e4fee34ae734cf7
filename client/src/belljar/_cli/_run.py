"""`run`: calls a function of a file."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, Optional

from .._errors import notes
from .._executor import Executor
from .._future import Future
from .._records import TaskRecord
from . import _learn, _live, _script
from ._inspect import print_output
from ._table import Progress, share, table

if TYPE_CHECKING:
    from ._inspect import Commands

_EPILOG = """ARGUMENTS are literals of Python's, or else texts: 3, '[1, 2]', word. Without any, those are used that a
line `args: ((1, 2), {"name": 3})` in the file's docstring gives, if there is one."""
# The first call of a runtime starts an interpreter; the median of a few does not show it.
_COMPARED_CALLS = 5
# A call that takes longer shows what it writes as it comes.
_LONG_SECONDS = 0.3
# How often a bar asks how far calls have come, and how many of them.
_BAR_SECONDS = 1.0
_BAR_CALLS = 8


def add(commands: Commands) -> argparse.ArgumentParser:
    """The command `run`."""
    parser = commands.add_parser(
        "run",
        help="call a function of a Python file",
        description="Calls a function of a Python file and prints what it returns.",
        epilog=_EPILOG,
    )
    parser.add_argument("target", metavar="FILE.py[:FUNCTION]")
    parser.add_argument("words", metavar="ARGUMENTS", nargs="*")
    parser.add_argument("--arg", metavar="[NAME=]VALUE", action="append", default=[], help="a further argument; repeatable")
    parser.add_argument("--map", metavar="LIST", help="call it for each item of a list, or of range(...)")
    parser.add_argument("--sandbox", action="store_true", help="run it in the sandbox")
    parser.add_argument("--learn", action="store_true", help="run it in the sandbox, and say what it was refused and which grants would do")
    parser.add_argument("--compare", action="store_true", help="run it natively and in the sandbox, and show both")
    parser.add_argument("--trust-results", action="store_true", help="load whatever a sandboxed call returns, which can run code here")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="the time limit of a call")
    parser.add_argument("--memory-mb", type=int, metavar="MIB", help="the memory limit of a call")
    parser.add_argument(
        "--warm", choices=("auto", "always", "never"), help="whether calls in the sandbox start with its modules imported (default: auto)"
    )
    parser.add_argument("--file", metavar="[NAME=]PATH", action="append", default=[], help="a file for its working directory; repeatable")
    parser.add_argument("--output", metavar="PATTERN", action="append", default=[], help="files to fetch from there, such as '*.png'; repeatable")
    parser.add_argument("--output-dir", metavar="DIR", type=Path, default=Path(), help="where to put them (default: here)")
    parser.set_defaults(command=_run)
    return parser


def _run(options: argparse.Namespace) -> bool:
    script = _script.load(options.target)
    args, kwargs = _script.arguments(options.words, options.arg)
    if not args and not kwargs and options.map is None:
        args, kwargs = script.args, script.kwargs
    runtime = "sandbox" if options.sandbox or options.learn else None
    if script.is_unsafe_natively and runtime is None:
        raise _script.ScriptError(f"`{options.target}` says that it is unsafe natively; hint: --sandbox")
    limits = script.limits
    timeout = options.timeout or limits.get("timeout_s")
    memory_mb = options.memory_mb or (int(limits["memory_mb"]) if "memory_mb" in limits else None)
    # What ends its executor here would only do it again.
    results = "trusted" if options.trust_results else None
    if options.map is not None and options.output:
        raise _script.ScriptError("--output is for a single call: its files would replace one another with --map")
    with Executor(options.url, results=results, runtime=runtime, timeout=timeout, memory_mb=memory_mb, retries=0) as executor:
        executor = executor.options(files=dict(map(_file, options.file)), outputs=options.output, warm=options.warm)
        if options.map is not None:
            return _map(executor, script, _script.items(options.map), args, kwargs, options.json)
        if options.compare:
            return _compare(executor, script, args, kwargs, options.json)
        return _once(executor, script, args, kwargs, options)


def _file(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    return (name, Path(path)) if sign else (Path(text).name, Path(text))


def _save(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes files that a call has left. Their names are the function's: none may lead out of the folder."""
    for name, content in files.items():
        path = folder / name
        if folder.resolve() not in path.resolve().parents:
            raise _script.ScriptError(f"the file `{name}` would not be in `{folder}`; hint: --output-dir names an empty folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{path}: {len(content)} bytes", file=sys.stderr)


class _Outcome(NamedTuple):
    """How a call ended, and how long that took from here."""

    value: Any
    error: Optional[BaseException]
    seconds: float
    record: Optional[TaskRecord]
    files: Callable[[], Mapping[str, bytes]] = dict
    is_output_shown: bool = False

    @property
    def shown(self) -> str:
        return repr(self.value) if self.error is None else f"{type(self.error).__name__}: {self.error}"

    def as_json(self) -> dict[str, Any]:
        """For programs: the result as JSON where it can be, else its `repr`."""
        try:
            json.dumps(self.value)
            value = self.value
        except (TypeError, ValueError):
            value = repr(self.value)
        fields: dict[str, Any] = {"result": value} if self.error is None else {"error": self.shown}
        return {**fields, "seconds": round(self.seconds, 6), "record": self.record and dict(self.record.raw)}


def _call(
    executor: Executor, script: _script.Script, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_live: bool = False
) -> _Outcome:
    start = time.perf_counter()
    future: Future[Any] = executor.submit(script.function, *args, **kwargs)
    is_shown = is_live and not _ends_within(future, _LONG_SECONDS)
    if is_shown:
        _live.show(future.stream())
    error = future.exception()
    seconds = time.perf_counter() - start
    value = None if error else future.result()
    record = None if future.task_id is None else future.record()
    return _Outcome(value, error, seconds, record, future.files, is_shown)


def _ends_within(future: Future[Any], seconds: float) -> bool:
    concurrent.futures.wait([future], seconds)
    return future.done()


def _once(
    executor: Executor, script: _script.Script, args: tuple[Any, ...], kwargs: dict[str, Any], options: argparse.Namespace
) -> bool:
    outcome = _call(executor, script, args, kwargs, is_live=not options.json)
    record = outcome.record
    if record is not None and record.files:
        _save(outcome.files(), options.output_dir)
    if options.json:
        print(json.dumps(outcome.as_json(), indent=2))
        return outcome.error is None
    if record is not None and not outcome.is_output_shown:
        print_output(record.stdout.text, record.stderr.text)
    if outcome.error is None:
        print(outcome.shown)
    else:
        print(_described(outcome.error), file=sys.stderr)
    if record is not None:
        print(f"{record.status}, {record.runtime}, {outcome.seconds * 1000:.1f} ms {_phases(record)}", file=sys.stderr)
        for line in _learn.described(record.raw.get("denied", ())) if options.learn else ():
            print(line, file=sys.stderr)
    return outcome.error is None


def _described(error: BaseException) -> str:
    lines = traceback.format_exception_only(type(error), error)
    if sys.version_info < (3, 11):
        lines += notes(error)
    return "".join(lines).rstrip("\n")


def _phases(record: TaskRecord) -> str:
    durations = vars(record.durations_ms)
    parts = [f"{name} {value:.1f}" for name, value in durations.items() if value and name not in ("run", "slot")]
    return f"({', '.join(parts)})" if parts else ""


def _map(
    executor: Executor,
    script: _script.Script,
    items: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    as_json: bool,
) -> bool:
    """One call for each item, which comes before all other arguments."""
    progress = Progress(len(items))
    futures = [executor.submit(script.function, item, *args, **kwargs) for item in items]
    outcomes = []
    for at, future in enumerate(futures):
        while progress.is_shown and not _ends_within(future, _BAR_SECONDS):
            progress.show(sum(map(_share, futures[at : at + _BAR_CALLS])))
        error = future.exception()
        outcomes.append(_Outcome(None if error else future.result(), error, 0.0, None))
        progress.step()
    progress.end()
    failed = sum(1 for outcome in outcomes if outcome.error is not None)
    if as_json:
        print(json.dumps([{k: v for k, v in outcome.as_json().items() if k in ("result", "error")} for outcome in outcomes]))
    else:
        for outcome in outcomes:
            print(outcome.shown)
    if failed:
        print(f"{failed} of {len(outcomes)} calls failed", file=sys.stderr)
    return not failed


def _share(future: Future[Any]) -> float:
    """How much of a call that runs is done, as far as it says."""
    return 0.0 if future.done() or future.task_id is None else share(future.record().progress)


def _compare(
    executor: Executor, script: _script.Script, args: tuple[Any, ...], kwargs: dict[str, Any], as_json: bool
) -> bool:
    """The same call in both runtimes, beside each other."""
    both = {}
    for runtime in ("native", "sandbox"):
        on = executor.options(runtime=runtime)
        both[runtime] = [_call(on, script, args, kwargs) for _ in range(_COMPARED_CALLS)]
    if as_json:
        print(json.dumps({name: [outcome.as_json() for outcome in outcomes] for name, outcomes in both.items()}, indent=2))
    else:
        phases = ("queue", "instance", "decode", "call", "encode")
        rows = [_row(runtime, outcomes, phases) for runtime, outcomes in both.items()]
        print(table(("RUNTIME", "RESULT", "TOTAL", *(phase.upper() for phase in phases), "MEMORY"), rows))
        print(f"times in ms, the median of {_COMPARED_CALLS} calls", file=sys.stderr)
    shown = {outcomes[-1].shown for outcomes in both.values()}
    return len(shown) == 1 and all(outcomes[-1].error is None for outcomes in both.values())


def _row(runtime: str, outcomes: list[_Outcome], phases: tuple[str, ...]) -> list[Optional[str]]:
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    cells: list[Optional[str]] = [runtime, outcomes[-1].shown]
    cells.append(f"{statistics.median(outcome.seconds for outcome in outcomes) * 1000:.1f}")
    for phase in phases:
        values = [getattr(record.durations_ms, phase) or 0.0 for record in records]
        cells.append(f"{statistics.median(values):.2f}" if values else None)
    peaks = [record.peak_memory_bytes for record in records if record.peak_memory_bytes]
    cells.append(f"{max(peaks) / (1 << 20):.0f} MiB" if peaks else None)
    return cells
