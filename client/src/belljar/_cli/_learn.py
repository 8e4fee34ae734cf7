"""What a call was refused, and the smallest grants that would give it that."""

from __future__ import annotations

import os.path
import shlex
from typing import Any, Iterable, Iterator, Mapping

# What is the sandbox's own, wherever the worker runs.
_OWN = ("/lib", "/site", "/path", "/dev", "/proc", "/sys")
_NEVER = {
    "write": "to write outside of /tmp",
    "thread": "threads",
    "process": "processes",
    "module": "the module",
}


def described(denied: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines for people; none where nothing was refused."""
    by_kind: dict[str, list[str]] = {}
    for entry in denied:
        by_kind.setdefault(entry["kind"], []).append(entry["name"])
    if not by_kind:
        yield "the call was refused nothing"
        return
    for kind, names in by_kind.items():
        yield f"refused: {kind} {' '.join(names)}".rstrip()
    asked, offered = grants(by_kind)
    if asked:
        options = ", ".join(f"{name}={values!r}" for name, values in asked.items())
        yield f"to ask for it: executor.options({options})"
        yield f"to offer it: belljar up {shlex.join(offered)}"
    for kind, what in _NEVER.items():
        if kind in by_kind:
            yield f"not in the sandbox: {' '.join([what, *filter(None, by_kind[kind])])}"


def grants(by_kind: Mapping[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """The options of a function that asks for what was refused, and those of a worker that offers it."""
    asked = {
        "read": _directories(by_kind.get("read", [])),
        "env": sorted(by_kind.get("env", [])),
        "http": sorted({*_hosts(by_kind.get("network", [])), *_requests(by_kind.get("http", []))}),
    }
    offered = [word for name, values in asked.items() for value in values for word in (f"--grant-{name}", value)]
    return {name: values for name, values in asked.items() if values}, offered


def _directories(paths: Iterable[str]) -> list[str]:
    """The directories that hold files, without those below another one."""
    found: list[str] = []
    for directory in sorted(os.path.normpath(path if path.endswith("/") else os.path.dirname(path)) for path in paths):
        own = any(directory == own or directory.startswith(own + "/") for own in _OWN)
        if directory != "/" and not own and not any(f"{directory}/".startswith(f"{other}/") for other in found):
            found.append(directory)
    return found


def _requests(requests: Iterable[str]) -> Iterator[str]:
    """The requests themselves; those that differ in the last part of the path alone are one grant."""
    beside: dict[str, set[str]] = {}
    for request in requests:
        beside.setdefault(request.rpartition("/")[0], set()).add(request)
    for above, same in beside.items():
        yield f"{above}/*" if len(same) > 1 else next(iter(same))


def _hosts(names: Iterable[str]) -> Iterator[str]:
    """The grants of reading from hosts; of a call that asks for no request the network knows no more than these."""
    for name in names:
        host, _, port = name.rpartition(":")
        if host and port in ("443", "80", "https", "http"):
            yield f"GET {'https' if port in ('443', 'https') else 'http'}://{host}/*"
        elif host:
            yield f"GET http://{name}/*"
