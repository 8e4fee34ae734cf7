"""The commands `run`, `tasks`, `logs`, `workers` and `cancel`.

They are `python -m belljar ...`, and the same words behind `belljar`, which starts a service for a `run`
that names none. Results go to standard output, what is said about them to standard error. Exit codes:
0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from typing import Optional, Sequence

from .._errors import BelljarError
from .._http import AddressError
from . import _inspect, _run
from ._script import ScriptError

DONE, FAILED = 0, 1


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Carries out one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return DONE if options.command(options) else FAILED
    except (BelljarError, ScriptError, AddressError) as error:
        print(f"belljar: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # Who read the output has seen enough.
        sys.stderr.close()
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="belljar", description="Calls functions on a belljar service, and looks at it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_run.add, _inspect.add_tasks, _inspect.add_logs, _inspect.add_workers, _inspect.add_cancel):
        command = add(commands)
        command.add_argument("--url", help="the service's address [variable: BELLJAR_URL]")
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser
