"""Modules that travel along: those whose files lie beside the script, of which the service knows nothing."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import importlib.util
import os
import pickle
import sys
import sysconfig
import types
from typing import Any, Iterable, Iterator, NamedTuple, Optional

_INSTALLED = ("site-packages", "dist-packages")
_PLAIN = (int, float, complex, str, bytes, bool, type(None))
# Data of a module that is larger is taken as its file gives it.
_LONGEST_VALUE = 10_000


class Source(NamedTuple):
    """A module's file."""

    path: str
    text: str
    is_package: bool
    stamp: tuple[int, int]


@functools.lru_cache(maxsize=None)
def _standard_library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(os.path.realpath(paths[name]) + os.sep for name in ("stdlib", "platstdlib"))


_OF_PYTHON = frozenset(getattr(sys, "stdlib_module_names", ()))


@functools.lru_cache(maxsize=1000)
def _is_installed(path: str) -> bool:
    parts = path.split(os.sep)
    return any(part in parts for part in _INSTALLED) or path.startswith(_standard_library())


@functools.lru_cache(maxsize=1000)
def _is_of_packages(folder: str, end: str) -> bool:
    """Whether pip has installed packages into this folder or one around it, as by `--target`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        if any(entry.name.endswith(".dist-info") for entry in entries):
            return True
    return folder != end and _is_of_packages(os.path.dirname(folder), end)


def script_folder() -> str:
    """The folder of the script; the current one where an interpreter or a tool runs the code."""
    path: Optional[str] = getattr(sys.modules.get("__main__"), "__file__", None)
    if path:
        path = os.path.realpath(path)
        if not _is_installed(path):
            return os.path.dirname(path)
    return os.path.realpath(os.getcwd())


def path_of(name: str, given: Iterable[str] = ()) -> Optional[str]:
    """The file of a module that has to travel along; None for any other."""
    root = name.partition(".")[0]
    if root in ("__main__", "belljar", "builtins", "runner", "runner_pickles") or (root in _OF_PYTHON and root not in given):
        return None
    module = sys.modules.get(name)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        path = spec.origin if spec is not None else None
    else:
        path = getattr(module, "__file__", None)
    if not isinstance(path, str) or not path.endswith(".py"):
        return None
    path = os.path.realpath(path)
    if root in given or name in given:
        return path
    folder = script_folder()
    if not path.startswith(folder + os.sep) or _is_installed(path) or _is_of_packages(os.path.dirname(path), folder):
        return None
    return path


def stamp(path: str) -> tuple[int, int]:
    """What changes when a file does."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


def collect(names: Iterable[str], given: Iterable[str] = ()) -> dict[str, Source]:
    """These modules, the packages around them, and those that they import in turn."""
    found: dict[str, Source] = {}
    waiting = [*names, *given]
    while waiting:
        name = waiting.pop()
        path = None if name in found else path_of(name, given)
        if path is None:
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        is_package = os.path.basename(path) == "__init__.py"
        found[name] = Source(path, text, is_package, stamp(path))
        waiting += _parents(name)
        waiting += _imports(text, name if is_package else name.rpartition(".")[0])
    return found


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(text: str, package: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_by(code: types.CodeType) -> Iterator[str]:
    """What a function imports when it runs."""
    if any(dis.opname[op] == "IMPORT_NAME" for op in code.co_code[::2]):
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                yield instruction.argval
            elif instruction.opname == "IMPORT_FROM":
                yield from (f"{name}.{instruction.argval}" for name in code.co_names if name in sys.modules)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from imported_by(constant)


def values(name: str) -> Optional[bytes]:
    """The plain data among a module's globals, which the program may have set since the import."""
    module = sys.modules.get(name)
    if module is None:
        return None
    found = {key: value for key, value in vars(module).items() if not key.startswith("__") and is_plain(value)}
    return pickle.dumps(found, 4) if found else None


def is_plain(value: Any, room: int = _LONGEST_VALUE) -> bool:
    if type(value) in _PLAIN:
        return True
    if type(value) in (list, tuple, set, frozenset) and len(value) <= room:
        return all(is_plain(item, room // 10) for item in value)
    if type(value) is dict and len(value) <= room:
        return all(type(key) in _PLAIN and is_plain(item, room // 10) for key, item in value.items())
    return False
