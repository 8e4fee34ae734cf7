"""What functions refer to otherwise than by name in their code: in texts that they evaluate, and as subclasses."""

from __future__ import annotations

import re
import types
from typing import Any, Iterable, Iterator

_EVALUATE = frozenset(("eval", "exec", "globals"))
_READ_ANNOTATIONS = frozenset(("get_type_hints", "get_annotations", "eval_str"))
_WORD = re.compile(r"[^\W\d]\w*")
_LONGEST_TEXT = 10_000


class Found:
    """Of functions and classes that travel: names in texts with what they stand for in the script, and subclasses
    of the script, each where a function asks for such."""

    def __init__(self, functions: Iterable[types.FunctionType], classes: Iterable[type]) -> None:
        functions = list(functions)
        words = {function: set(_words(function.__code__)) for function in functions}
        used = set().union(*words.values())
        # What stands for each name now, and among which names.
        self.names: dict[str, tuple[dict[str, Any], Any]] = {}
        for function in functions:
            if words[function] & _EVALUATE:
                self._look_up(function, _texts(function.__code__, function.__doc__))
            if used & _READ_ANNOTATIONS:
                self._look_up(function, function.__annotations__.values())
        if used & _READ_ANNOTATIONS and functions:
            for cls in classes:
                self._look_up(functions[0], vars(cls).get("__annotations__", {}).values())
        self.subclasses = [*subclasses(classes)] if "__subclasses__" in used else []

    def _look_up(self, function: types.FunctionType, texts: Iterable[Any]) -> None:
        names = function.__globals__
        if names.get("__name__") != "__main__":
            return
        for text in texts:
            if isinstance(text, str) and len(text) <= _LONGEST_TEXT:
                self.names.update((word, (names, names[word])) for word in _WORD.findall(text) if word in names)


def _words(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _words(constant)
        elif isinstance(constant, tuple):  # The names of keyword arguments.
            yield from (word for word in constant if isinstance(word, str))


def _texts(code: types.CodeType, doc: Any) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _texts(constant, None)
        elif isinstance(constant, str) and constant != doc:
            yield constant


def subclasses(classes: Iterable[type]) -> Iterator[type]:
    """Those of the script, of classes."""
    for cls in classes:
        found: list[type] = type.__subclasses__(cls)
        for subclass in found:
            if subclass.__module__ == "__main__":
                yield subclass
                yield from subclasses([subclass])
