"""A function in a Python file, and arguments from the command line."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Sequence

_QUOTED = re.compile(r"""[rRuU]?('''|\"\"\"|'|\")(.*)\1""", re.DOTALL)
_RANGE = re.compile(r"range\(\s*(-?\d+)\s*(?:,\s*(-?\d+)\s*)?(?:,\s*(-?\d+)\s*)?\)")
_NAMED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


class ScriptError(Exception):
    """A file, function or argument that is not what it should be."""


class Script(NamedTuple):
    """What a file says: a function, and in the docstring perhaps how to call it.

    A line `args: ((1, 2), {"name": 3})` gives the arguments that are used where none are given, a line
    `limits: timeout_s=5 memory_mb=128` the limits, and `native: unsafe` allows the sandbox only.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    limits: dict[str, float] = {}
    is_unsafe_natively: bool = False


def load(target: str) -> Script:
    """Reads `FILE.py` or `FILE.py:function`.

    Without a function it is the one named like the file, else `main`, else the only one there is.
    """
    file, _, name = target.partition(".py")
    path = Path(f"{file}.py")
    if not path.is_file():
        raise ScriptError(f"there is no file `{path}`; hint: belljar run FILE.py:function ARGUMENTS")
    source = path.read_text(encoding="utf-8")
    names = _execute(path, source)
    function = _function(names, path, name.lstrip(":"))
    return _described(function, path, _docstring(source))


def _execute(path: Path, source: str) -> dict[str, Any]:
    """The names that a file makes, in `__main__`, so that what it defines travels by value.

    What stands below `if __name__ == "__main__"` is left out: the file is asked for its function only.
    """
    names = vars(sys.modules["__main__"])
    names["__file__"] = str(path)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        tree = ast.parse(source, str(path))
        tree.body = [node for node in tree.body if not _is_main_block(node)]
        exec(compile(tree, str(path), "exec"), names)
    except Exception as error:
        raise ScriptError(f"`{path}` cannot be run: {type(error).__name__}: {error}") from error
    return names


def _is_main_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def _docstring(source: str) -> str:
    """A module's docstring as it is written, without its quotes: in the literals there, escapes must be read
    once."""
    body = ast.parse(source).body
    written = (ast.get_source_segment(source, body[0]) or "") if body else ""
    quoted = _QUOTED.fullmatch(written)
    return quoted[2] if quoted else ""


def _function(names: dict[str, Any], path: Path, name: str) -> Callable[..., Any]:
    own: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in names.items()
        if callable(value) and getattr(value, "__module__", None) == "__main__" and not isinstance(value, type)
    }
    if name:
        found: Optional[Callable[..., Any]] = names.get(name)
        if found is None or not callable(found):
            raise ScriptError(f"`{path}` has no function `{name}`; hint: it has {_listed(own)}")
        return found
    for candidate in (path.stem, "main"):
        if candidate in own:
            return own[candidate]
    if len(own) == 1:
        return next(iter(own.values()))
    raise ScriptError(f"which function of `{path}`? hint: {path}:NAME, with one of {_listed(own)}")


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def _described(function: Callable[..., Any], path: Path, doc: str) -> Script:
    lines = dict(re.findall(r"^(args|limits|native): (.*)$", doc, re.MULTILINE))
    try:
        args, kwargs = ast.literal_eval(lines.get("args", "((), {})"))
        limits = {key: float(value) for key, value in (pair.split("=") for pair in lines.get("limits", "").split())}
    except (ValueError, SyntaxError, TypeError) as error:
        raise ScriptError(f"the docstring of `{path}` has a line `args:` or `limits:` of no such form: {error}") from None
    return Script(function, tuple(args), kwargs, limits, lines.get("native") == "unsafe")


def arguments(words: Sequence[str], options: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments: words in their order, then those of `--arg`, which may have names."""
    args = [value(word) for word in words]
    kwargs = {}
    for option in options:
        named = _NAMED.fullmatch(option)
        if named:
            kwargs[named[1]] = value(named[2])
        else:
            args.append(value(option))
    return tuple(args), kwargs


def value(text: str) -> Any:
    """A literal of Python's, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def items(text: str) -> Sequence[Any]:
    """The items of a literal list or tuple, or of `range(...)`."""
    numbers = _RANGE.fullmatch(text)
    if numbers:
        return range(*(int(number) for number in numbers.groups() if number is not None))
    found: Optional[Any] = value(text)
    if not isinstance(found, (list, tuple)):
        raise ScriptError(f"`{text}` is no list; hint: --map '[1, 2, 3]' or --map 'range(100)'")
    return found
