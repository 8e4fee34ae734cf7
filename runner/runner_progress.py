"""How a call says how far it has come: `belljar.progress`, in both runtimes.

A call imports `belljar` for it. Where the Python package of that name is installed for the worker, that one is imported
and leads here. Else a module stands for it, also where modules import it that send calls, or decorate functions for that.
"""

import sys
from importlib.machinery import ModuleSpec
from math import isfinite
from time import monotonic
from types import ModuleType

# The worker is told at most this often; what is said in between is told at the end of the call, the last of it.
_INTERVAL = 0.05
# The worker keeps no longer note.
_NOTE_CHARACTERS = 200

_DEVICE = "/dev/progress"

# When the worker was told last, and what it was not told since.
_told_at = None
_untold = None


def progress(done, total=None, note=None):
    """Says that `done` of `total` is done, in whatever unit, and in a few words what is done now.

    Both are numbers; without `total` nobody knows how much is left.
    """
    global _told_at, _untold
    done, total = _number("done", done), None if total is None else _number("total", total)
    if not isfinite(done):
        return
    said = done, total if total is not None and isfinite(total) else None, _text(note)
    now = monotonic()
    if _told_at is not None and now - _told_at < _INTERVAL:
        _untold = said
        return
    _told_at, _untold = now, None
    _tell(*said)


def end():
    """The call has ended: tells what it said last."""
    global _told_at, _untold
    said, _untold = _untold, None
    if _told_at is not None:
        _told_at = None
        if said is not None:
            _tell(*said)


def _number(name, value):
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"`{name}` is a {type(value).__name__}: expected a number")
    return float(value)


def _text(note):
    return "" if note is None else str(note)[:_NOTE_CHARACTERS].encode("utf-8", "replace").decode()


if sys.platform == "wasi":
    import json
    import os

    def _tell(*said):
        # Opened each time: an interpreter may start from the memory of another one, whose descriptors it has not.
        try:
            device = os.open(_DEVICE, os.O_WRONLY)
        except OSError:  # The function is only loaded, ahead of its calls.
            return
        try:
            os.write(device, json.dumps(said).encode())
        finally:
            os.close(device)

else:
    try:
        from belljar_host import tell_progress as _tell
    except ImportError:  # There is no worker around it, as in tests.

        def _tell(*said):
            pass


def _function(function=None, /, **options):
    return (lambda function: function) if function is None else function


class _Absent:
    def __init__(self, *args, **options):
        pass

    def __getattr__(self, name):
        raise RuntimeError("a call cannot send calls: the worker does not have the package `belljar`")


def _absent(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Absent


class _Finder:
    """Finds `belljar` where nobody else does."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, _Finder, origin="the worker") if name == "belljar" else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module: ModuleType):
        module.progress, module.function, module.__getattr__ = progress, _function, _absent


# Behind all others.
sys.meta_path.append(_Finder)
