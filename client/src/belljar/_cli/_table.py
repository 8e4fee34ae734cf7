"""Tables that fit the terminal, and a line that shows progress."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import datetime, timezone
from typing import Any, Iterable, Optional, Sequence

from .. import _records

_GAP = 2
_NARROWEST = 8


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: int = 0, width: Optional[int] = None) -> str:
    """Rows in columns. Where a terminal is too narrow the widest columns are cut, with an ellipsis; the
    first `whole` columns are not, since people copy from them."""
    texts = [[_text(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(cell) for cell in column) for column in zip(*texts)]
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    room = width - _GAP * (len(widths) - 1)
    while sum(widths) > room and max(widths[whole:]) > _NARROWEST:
        widths[widths.index(max(widths[whole:]), whole)] -= 1
    lines = ((" " * _GAP).join(_fit(cell, size) for cell, size in zip(row, widths)).rstrip() for row in texts)
    return "\n".join(lines)


def _text(cell: Any) -> str:
    return "-" if cell is None else " ".join(str(cell).split())


def _fit(cell: str, size: int) -> str:
    return cell.ljust(size) if len(cell) <= size else cell[: size - 1] + "…"


def age(since: str, now: Optional[datetime] = None) -> str:
    """How long ago a time in RFC 3339 form was: 5s, 3m, 2h, 4d."""
    then = datetime.strptime(since[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    seconds = max(int(((now or datetime.now(timezone.utc)) - then).total_seconds()), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


class CallProgress:
    """A line on standard error that shows how far a call has come, while that is a terminal."""

    def __init__(self) -> None:
        self._is_possible = sys.stderr.isatty()
        self._is_shown = False

    def show(self, progress: _records.Progress) -> None:
        """The call has come so far."""
        if self._is_possible:
            self._is_shown = True
            print(f"\r\x1b[K{call_line(progress, shutil.get_terminal_size().columns)}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Makes room for what the call writes."""
        if self._is_shown:
            self._is_shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def call_line(progress: _records.Progress, width: int) -> str:
    """How far a call has come, in one line."""
    note = " ".join(progress.note.split())
    words = f" {progress.done:g}" + (f"/{progress.total:g}" if progress.total else "") + (f"  {note}" if note else "")
    bar = max(min(width - len(words) - 3, 40), 0) if progress.total else 0
    filled = int(bar * share(progress))
    line = f"[{'#' * filled}{' ' * (bar - filled)}]{words}" if bar else words.strip()
    return "".join(character if character.isprintable() else "?" for character in line)[: width - 1]


def share(progress: Optional[_records.Progress]) -> float:
    """How much of a call is done, from 0 to 1; 0 where it does not say."""
    return max(0.0, min(progress.done / progress.total, 1.0)) if progress is not None and progress.total else 0.0


class Progress:
    """A line on standard error, while that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._shown = 0.0
        self._is_shown = sys.stderr.isatty() and total > 1

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if self._is_shown and (now - self._shown > 0.1 or self._done == self._total):
            self._show(now, 0.0)

    @property
    def is_shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return self._is_shown

    def show(self, running: float) -> None:
        """What runs is done to this part, in calls."""
        if self._is_shown:
            self._show(time.monotonic(), running)

    def _show(self, now: float, running: float) -> None:
        self._shown = now
        line = self.line(now - self._start, shutil.get_terminal_size().columns, running)
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def line(self, elapsed: float, width: int, running: float = 0.0) -> str:
        """What is shown after so many seconds, while what runs is done to this part."""
        done = self._done + running
        rate = done / elapsed if elapsed else 0.0
        left = (self._total - done) / rate if rate else 0.0
        words = f" {self._done}/{self._total}  {rate:.0f}/s  {int(left) // 60}:{int(left) % 60:02} left"
        bar = max(min(width - len(words) - 3, 40), 0)
        filled = int(bar * done / self._total)
        return f"[{'#' * filled}{' ' * (bar - filled)}]{words}"[: width - 1]

    def end(self) -> None:
        """Leaves the line as it is."""
        if self._is_shown:
            print(file=sys.stderr)
