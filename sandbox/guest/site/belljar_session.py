"""Sessions: a call goes on where the one before has ended. And source text runs in one step by step, as in a notebook."""

import ast
import linecache
import sys
from types import FunctionType

import runner_pickles
from runner_pickles import call_state

_main = sys.modules["__main__"].__dict__
_has_begun = False
_steps = 0

# What is returned as it is. Of anything else a client gets a text, as a notebook shows it.
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_DEPTH = 20
# Tracebacks show the lines of so many steps.
_SHOWN = 100


def resume():
    """Before a call; the first of a session begins as any other."""
    global _has_begun
    if not _has_begun:
        runner_pickles.begin()
        _has_begun = True
    # A directory that was not there may be now: functions with requirements have more of them than others.
    for path in [path for path, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[path]
    classes, tracker_ids, filled = call_state.classes, call_state.tracker_ids, call_state.filled
    call_state.__init__()
    # A class that the client sends again is the same.
    vars(call_state).update(classes=classes, tracker_ids=tracker_ids, filled=filled)


def loads(data):
    """The value of a pickle. Of what it brings along into `__main__`, functions and classes replace those that are there; values do not."""
    before = dict(_main)
    value = runner_pickles.loads(data)
    for name, own in before.items():
        if _main.get(name) is not own and not isinstance(_main.get(name), (FunctionType, type)):
            _main[name] = own
    return value


def pause():
    """After a call: drops what only that needs."""
    vars(call_state).update(unpickler=None, dill_globals=[], set_variables=[], objects=(), modules={})


def run(source):
    """Runs statements in the session's `__main__`. Returns the value of the last one, if that is an expression."""
    global _steps
    _steps += 1
    # The name under which tracebacks find the lines.
    name = f"<step {_steps}>"
    linecache.cache.pop(f"<step {_steps - _SHOWN}>", None)
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), _main)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), name, "eval"), _main)
    return value if _is_plain(value, _DEPTH) else repr(value)


def _is_plain(value, depth):
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth == 0:
        return False
    if kind in (list, tuple, set, frozenset):
        return all(_is_plain(item, depth - 1) for item in value)
    if kind is dict:
        return all(_is_plain(item, depth - 1) for pair in value.items() for item in pair)
    return kind.__module__ == "numpy" and getattr(value, "dtype", None) is not None and not value.dtype.hasobject
