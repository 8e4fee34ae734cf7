"""Runs one call: decode, call, encode.

Both executors run this file, the native interpreter and the sandbox's guest, so that a function means
the same in both. It holds no state between calls and knows nothing of processes, limits or wasm; its
host calls `run` and gives the answer on.
"""

import builtins
import os
import pickle
import sys
import traceback
from io import BytesIO
from time import perf_counter_ns
from types import CodeType, FunctionType

import dill

# dill's own default. Readable by every Python 3 that belljar serves.
PROTOCOL = 4

# dill resolves the globals of a function of the client's `__main__` to the namespace of ours.
_main = sys.modules["__main__"].__dict__
_main_at_rest = {"__name__": "__main__", "__doc__": None, "__builtins__": builtins}

# Given up when memory runs out, so that there is some to say so with. CPython needs it: where it cannot
# allocate a small integer on the way into a handler, it tries again for ever.
_RESERVE_BYTES = 1 << 20
_reserve = [bytearray(_RESERVE_BYTES)]

_KINDS = ((MemoryError, "memory"), (RecursionError, "recursion"))


class _Unpickler(dill.Unpickler):
    """dill's, without what it does anew for each object: reading settings and finding its own functions.

    Nor does it look for the object's class in `__main__`, which `run` has just emptied.
    """

    _main = sys.modules["__main__"]
    _ignore = dill.settings["ignore"]
    __init__ = pickle.Unpickler.__init__
    load = pickle.Unpickler.load

    def find_class(self, module, name):
        if module == "dill._dill" and name in _dill_names:
            return _dill_names[name]
        return dill.Unpickler.find_class(self, module, name)


def _create_code(*args):
    # The line table of Python 3.10, then the fields of 3.11 in the order of their constructor: what
    # dill writes in 3.11, and works out again from the number and types of the arguments.
    if len(args) == 19 and {type(args[7]), type(args[15]), type(args[16])} == {bytes}:
        return CodeType(*args[1:])
    return dill._dill._create_code(*args)


_dill_names = dict(vars(dill._dill))
if sys.version_info[:2] == (3, 11):
    _dill_names["_create_code"] = _create_code


def _loads(data):
    return _Unpickler(BytesIO(data)).load()


def run(code, args, env=None):
    """Calls the function pickled in `code` with the `(args, kwargs)` pickled in `args`.

    `env` holds the environment variables that were granted, `NAME=VALUE` with a zero byte between two; the
    host takes them away again.

    Returns `(ok, pickle, kind, message, traceback, decode_us, call_us, encode_us)`. Where `ok`, the
    pickle is the return value and the three texts are empty; else it is the exception, `kind` one of
    belljar's failure kinds, `message` the exception in one line.
    """
    if not _reserve:
        _reserve.append(bytearray(_RESERVE_BYTES))
    _main.clear()
    _main.update(_main_at_rest)
    if env:
        os.environ.update(entry.split("=", 1) for entry in env.decode().split("\0"))
    start = perf_counter_ns()
    called = ended = None
    kind = "decode"
    try:
        function = _loads(code)
        positional, keyword = _arguments(_loads(args))
        if not callable(function):
            raise TypeError(f"the function unpickled to a {type(function).__name__}, which cannot be called")
        if type(function) is FunctionType and function.__globals__ is _main:
            # dill sends a function of `__main__` without the names beside it; its own it needs to recur.
            _main.setdefault(function.__name__, function)
        kind = "exception"
        called = perf_counter_ns()
        value = function(*positional, **keyword)
        ended = perf_counter_ns()
        kind = "encode"
        answer = (True, _encode_value(value), "", "", "")
    except BaseException as error:  # Whatever the function raises is its outcome, SystemExit too.
        if isinstance(error, MemoryError):
            _make_room(error.__traceback__)
        if called is not None and ended is None:
            ended = perf_counter_ns()
        answer = (False, *_describe(error, kind))
    done = perf_counter_ns()
    called = called or done
    ended = ended or done
    return (*answer, (called - start) // 1000, (ended - called) // 1000, (done - ended) // 1000)


def _make_room(trace):
    _reserve.clear()
    # The first frame is `run`; those of the function hold what filled the memory. There is none at all
    # where the memory did not even suffice for a traceback.
    trace = trace and trace.tb_next
    while trace is not None:
        try:
            trace.tb_frame.clear()
        except RuntimeError:  # It still runs: a generator's.
            pass
        trace = trace.tb_next


def _arguments(pair):
    if isinstance(pair, tuple) and len(pair) == 2:
        positional, keyword = pair
        if isinstance(positional, (tuple, list)) and isinstance(keyword, dict):
            return positional, keyword
    raise TypeError(
        f"the arguments must be a pickled pair (args, kwargs) of a tuple and a dict, not {_shorten(repr(pair), 200)}"
    )


def _dumps(value):
    try:
        # The C pickler writes what dill would, ten times as fast, and refuses what only dill can do.
        pickled = pickle.dumps(value, PROTOCOL)
        # Except for what lives in `__main__`: to others a reference to ours means nothing.
        if b"__main__" not in pickled:
            return pickled
    except Exception:
        pass
    return dill.dumps(value, PROTOCOL)


def _encode_value(value):
    try:
        return _dumps(value)
    except Exception as error:
        hint = "; return a list of its items instead" if hasattr(value, "__next__") else ""
        raise ValueError(
            f"the return value of type `{type(value).__name__}` cannot be serialized: {error}{hint}"
        ) from None


def _describe(error, kind):
    """`(pickle, kind, message, traceback)` of an exception."""
    # The first frame is `run` itself, which tells a user nothing.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    text = _text(error)
    try:
        remote = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException as failure:  # Its own __str__ or __repr__ may raise.
        remote = f"{type(error).__name__}: (the traceback cannot be formatted: {type(failure).__name__})\n"
    if kind == "exception":
        kind = next((name for cls, name in _KINDS if isinstance(error, cls)), kind)
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return _encode_exception(error, text, remote), kind, _shorten(message, 2000), remote


def _text(error):
    try:
        return str(error)
    except BaseException as failure:
        return f"(its text cannot be had: {type(failure).__name__})"


def _shorten(text, limit):
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _add_note(error, note):
    # As `add_note` does, which Python 3.11 brought.
    error.__notes__ = [*getattr(error, "__notes__", ()), note]


def _encode_exception(error, text, remote):
    """The exception itself where it survives the way there and back, else a builtin of its kind."""
    note = f"Remote traceback:\n{remote}"
    try:
        error.__traceback__ = None
        _add_note(error, note)
        pickled = _dumps(error)
        if type(_loads(pickled)).__name__ == type(error).__name__:
            return pickled
    except BaseException:
        pass
    for cls in type(error).__mro__:
        if cls.__module__ != "builtins" or not issubclass(cls, BaseException):
            continue
        try:
            substitute = cls(text if cls is not KeyError else text[1:-1])
            _add_note(substitute, note)
            return pickle.dumps(substitute, PROTOCOL)
        except Exception:  # UnicodeDecodeError and its like want more than a text.
            continue
    return pickle.dumps(RuntimeError(text), PROTOCOL)
