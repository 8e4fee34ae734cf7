"""`tasks`, `logs`, `workers` and `cancel`."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

from .._client import Client
from .._errors import NotFound
from . import _live
from ._table import age, call_line, table

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_tasks(commands: Commands) -> argparse.ArgumentParser:
    """The command `tasks`."""
    parser = commands.add_parser("tasks", help="show the newest tasks", description="Shows tasks, newest first.")
    parser.add_argument("--status", type=str.upper, help="only those that are QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED")
    parser.add_argument("--function", metavar="ID", help="only calls of this function")
    parser.add_argument("--limit", type=_count, default=20, metavar="N", help="how many (default: 20)")
    parser.set_defaults(command=_tasks)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _tasks(options: argparse.Namespace) -> bool:
    with Client(options.url) as client:
        found = client.tasks(status=options.status, function_id=options.function)
        tasks = list(itertools.islice(found, options.limit))
        if options.json:
            return _print_json(tasks)
        names: dict[str, str] = {}
        for function_id in {task["function_id"] for task in tasks}:
            names[function_id] = _name(client, function_id)
    rows = [
        [task["task_id"], task["status"], task["runtime"], age(task["accepted_at"]), names[task["function_id"]]]
        for task in tasks
    ]
    print(table(("TASK", "STATUS", "RUNTIME", "AGE", "FUNCTION"), rows, whole=1))
    return True


def _name(client: Client, function_id: str) -> str:
    try:
        return str(client.function(function_id)["name"])
    except NotFound:
        return function_id


def add_logs(commands: Commands) -> argparse.ArgumentParser:
    """The command `logs`."""
    parser = commands.add_parser(
        "logs",
        help="show what a task wrote, and why it failed",
        description="Shows the end of what a task wrote to standard output and standard error, how far it came, and why it failed.",
    )
    parser.add_argument("task_id", metavar="TASK")
    parser.add_argument("-f", "--follow", action="store_true", help="show what it writes as it comes, until it has ended")
    parser.set_defaults(command=_logs)
    return parser


def _logs(options: argparse.Namespace) -> bool:
    with Client(options.url) as client:
        is_shown = options.follow and not options.json
        if is_shown:
            _live.show(client.stream(options.task_id))
        while options.follow and client.status(options.task_id, wait=60) in ("QUEUED", "RUNNING"):
            pass
        record = client.record(options.task_id)
    if options.json:
        return _print_json(dict(record.raw))
    if not is_shown:
        print_output(record.stdout.text, record.stderr.text)
    print(f"{record.task_id} {record.status}, attempts: {record.attempts}", file=sys.stderr)
    if record.progress is not None:
        print(f"progress: {call_line(record.progress, 200)}", file=sys.stderr)
    for loss in record.losses:
        print(loss, file=sys.stderr)
    if record.failure is not None:
        print(record.failure.traceback or record.failure.message, file=sys.stderr, end="\n")
        if record.failure.hint:
            print(f"hint: {record.failure.hint}", file=sys.stderr)
    return True


def add_workers(commands: Commands) -> argparse.ArgumentParser:
    """The command `workers`."""
    parser = commands.add_parser("workers", help="show the workers", description="Shows the workers, newest first.")
    parser.set_defaults(command=_workers)
    return parser


def _workers(options: argparse.Namespace) -> bool:
    with Client(options.url) as client:
        workers = list(client.workers())
    if options.json:
        return _print_json(workers)
    heads = ("WORKER", "HOST", "PID", "MODE", "BUSY", "SERVES")
    rows = [
        [
            worker["worker_id"],
            worker["host"],
            worker["pid"],
            worker["mode"],
            f"{worker['busy']}/{worker['slots']}",
            " ".join(worker["classes"]),
        ]
        for worker in workers
    ]
    print(table(heads, rows))
    return True


def add_cancel(commands: Commands) -> argparse.ArgumentParser:
    """The command `cancel`."""
    parser = commands.add_parser("cancel", help="cancel tasks", description="Cancels tasks, also those that run.")
    parser.add_argument("task_ids", metavar="TASK", nargs="+")
    parser.set_defaults(command=_cancel)
    return parser


def _cancel(options: argparse.Namespace) -> bool:
    with Client(options.url) as client:
        became = {task_id: client.cancel(task_id) for task_id in options.task_ids}
    if options.json:
        _print_json([{"task_id": task_id, "status": status} for task_id, status in became.items()])
    else:
        for task_id, status in became.items():
            print(f"{task_id} {status}")
    return all(status == "CANCELLED" for status in became.values())


def print_output(stdout: str, stderr: str) -> None:
    """What a call wrote, to where it wrote it."""
    for text, stream in ((stdout, sys.stdout), (stderr, sys.stderr)):
        if text:
            print(text, end="" if text.endswith("\n") else "\n", file=stream, flush=True)


def _print_json(value: Any) -> bool:
    print(json.dumps(value, indent=2))
    return True
