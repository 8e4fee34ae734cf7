"""What pickles of this package refer to.

Where a call runs, `runner_pickles.py` stands in for these names: `function` gives the function, once `modules`
has made the modules that travel along importable there; `known_class` and `known_object` name what the
function's pickle has brought, so that the arguments and the function share it.
"""

from __future__ import annotations

import contextvars
from typing import Any, Mapping, Optional


def modules(sources: Mapping[str, tuple[str, str, bool]], values: Mapping[str, bytes]) -> None:
    """Makes modules importable for the call."""


def function(sent: None, function: Any, extras: list[Any], objects: list[Any]) -> Any:
    """The function of a call."""
    return function


def code(*fields: Any) -> Any:
    """A code object of the fields that its constructor takes."""
    raise LookupError("only a call makes what was sent with it")


def plain_function(code: Any) -> Any:
    """A function of the script that is its code and nothing else."""
    raise LookupError("only a call makes what was sent with it")


def known_class(tracker_id: str) -> Optional[type]:
    """A class that the function's pickle has brought."""
    raise LookupError("only a call knows what was sent with it")


def known_object(index: int) -> Any:
    """An object that the function's pickle has brought."""
    raise LookupError("only a call knows what was sent with it")


def fill_wrapped(wrapper: Any, state: Any) -> None:
    """Sets the state of the function inside a wrapper."""
    raise LookupError("only a call fills what was sent with it")


def context_variable(name: str, default: list[Any], now: list[Any]) -> contextvars.ContextVar[Any]:
    """A context variable with its default and what it was set to, each if there is such."""
    raise LookupError("only a call makes what was sent with it")


def type_parameter(kind: str, name: str, args: tuple[Any, ...], options: Mapping[str, Any], tracker_id: str) -> Any:
    """A `ParamSpec`, `TypeVarTuple`, `NewType` or type alias."""
    raise LookupError("only a call makes what was sent with it")
