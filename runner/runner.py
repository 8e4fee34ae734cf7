"""Runs one call: decode, call, encode.

Both runtimes run this file, the native interpreter and the sandbox's guest, so that a function means the
same in both. It keeps nothing between calls but caches, and knows nothing of processes, limits or wasm;
its host calls `run` and passes the answer on. `runner_pickles.py` reads and writes what travels,
`runner_progress.py` is what calls say meanwhile.
"""

import os
import pickle
import sys
import traceback
from time import perf_counter_ns
from types import CoroutineType, FunctionType

if sys.platform == "wasi":
    import belljar_limits
    import belljar_session

import runner_progress
from runner_pickles import PROTOCOL, begin, call_state, dumps, end, loads

# Freed when memory runs out, so that there is some left to report it with. CPython needs it: where it cannot
# allocate a small integer on the way into a handler, it retries without end.
_RESERVE_BYTES = 1 << 20
_reserve = [bytearray(_RESERVE_BYTES)]

# Stands in front of the arguments of a call that goes on where the one before has ended. No pickle begins so.
_SESSION = b"\0"

# The function that was unpickled ahead of its call, where the host does that.
loaded = None

_KINDS = ((MemoryError, "memory"), (RecursionError, "recursion"))


def run(code, args, env=None):
    """Calls the function pickled in `code` with the `(args, kwargs)` pickled in `args`; without code, `loaded`.

    Arguments with a zero byte in front are those of a session's call: what the one before left in `__main__` is there.

    `env` holds the environment variables that were granted, `NAME=VALUE` with a zero byte between two; the
    host removes them again.

    Returns `(ok, pickle, kind, message, traceback, decode_us, call_us, encode_us)`. Where `ok`, the
    pickle is the return value and the three texts are empty; else it is the exception, `kind` one of
    belljar's failure kinds, `message` the exception in one line.
    """
    if not _reserve:
        _reserve.append(bytearray(_RESERVE_BYTES))
    in_session, read = args[:1] == _SESSION, loads
    if in_session:
        args, read = args[1:], belljar_session.loads
        belljar_session.resume()
    elif code is not None:
        begin()
    if env:
        os.environ.update(entry.split("=", 1) for entry in env.decode().split("\0"))
    start = perf_counter_ns()
    called = ended = None
    kind = "decode"
    try:
        function = loaded if code is None else read(code)
        positional, keyword = _arguments(read(args))
        if not callable(function):
            raise TypeError(f"the function unpickled to a {type(function).__name__}, which cannot be called")
        if type(function) is FunctionType and function.__globals__.get("__name__") == "__main__":
            # dill sends a function of `__main__` without the names beside it; its own it needs to recur.
            function.__globals__.setdefault(function.__name__, function)
        kind = "exception"
        called = perf_counter_ns()
        value = function(*positional, **keyword)
        if type(value) is CoroutineType:
            value = _await(value)
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
    end()
    if in_session:
        belljar_session.pause()
    runner_progress.end()
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


def _await(coroutine):
    import asyncio

    return asyncio.run(coroutine)


def _arguments(pair):
    if isinstance(pair, tuple) and len(pair) == 2:
        positional, keyword = pair
        if isinstance(positional, (tuple, list)) and isinstance(keyword, dict):
            return positional, keyword
    raise TypeError(
        f"the arguments must be a pickled pair (args, kwargs) of a tuple and a dict, not {_shorten(repr(pair), 200)}"
    )


def _encode_value(value):
    try:
        return dumps(value)
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
    hint = _hint(error, kind)
    if kind == "exception":
        kind = next((name for cls, name in _KINDS if isinstance(error, cls)), kind)
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    notes = [f"Remote traceback:\n{remote}", *([f"hint: {hint}"] if hint else [])]
    pickled = _encode_exception(error, text, notes)
    if hint:  # The last line, which the task record shows apart.
        remote = f"{remote}hint: {hint}\n"
    return pickled, kind, _encodable(_shorten(message, 2000)), _encodable(remote)


def _text(error):
    try:
        return str(error)
    except BaseException as failure:
        return f"(its text cannot be had: {type(failure).__name__})"


def _encodable(text):
    """A text that can be written as UTF-8: an exception's may hold lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shorten(text, limit):
    return text if len(text) <= limit else text[: limit - 3] + "..."


_SERIALIZE = "serialize it by `cloudpickle.dumps(f)`, or `dill.dumps(f, recurse=True)`, which take along what it uses"


def _hint(error, kind):
    """What to do about a function that travelled without what it needs, or that needs what is not here."""
    if type(error) is NameError:
        return _name_hint(error, getattr(error, "name", None) or str(error).partition("'")[2].partition("'")[0])
    if kind == "decode" and isinstance(error, AttributeError):
        if "__main__" in str(error) and not call_state.is_cloudpickled:
            return f"the pickle names what the script defines without taking it along: {_SERIALIZE}"
        return "the pickle leaves out a part of what the script defines: the Python package `belljar` sends all of it"
    try:
        if sys.platform == "wasi":
            return belljar_limits.hint(error)
    except BaseException:  # The error's own code may raise.
        return None
    if isinstance(error, ImportError) and error.name:
        return (
            f"this worker has no module `{error.name}`: install it for the worker or put it on its --python-path; "
            "the Python package sends modules beside the script along"
        )
    return None


def _name_hint(error, name):
    if not (call_state.is_ours or call_state.is_cloudpickled):
        return f"the function travelled without `{name}`, which it uses: {_SERIALIZE}"
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace and trace.tb_frame.f_code.co_filename == "<string>":
        return f"only a text names `{name}`, not the function's code, so that it did not travel: pass it as an argument"
    return None  # It was not defined where the function came from either.


def _add_notes(error, notes):
    # As `add_note` does, which Python 3.11 brought.
    BaseException.__setattr__(error, "__notes__", [*getattr(error, "__notes__", ()), *notes])


def _encode_exception(error, text, notes):
    """The exception itself where it survives the way there and back, else a builtin of its kind."""
    try:
        BaseException.__setattr__(error, "__traceback__", None)
        _add_notes(error, notes)
        pickled = _pickled_exception(error)
        if pickled is not None:
            return pickled
    except BaseException:
        pass
    for cls in type(error).__mro__:
        if cls.__module__ != "builtins" or not issubclass(cls, BaseException):
            continue
        try:
            substitute = cls(text if cls is not KeyError else text[1:-1])
            _add_notes(substitute, notes)
            return pickle.dumps(substitute, PROTOCOL)
        except Exception:  # UnicodeDecodeError and its like want more than a text.
            continue
    return pickle.dumps(RuntimeError(text), PROTOCOL)


def _pickled_exception(error):
    """The exception's pickle, without attributes that cannot be pickled; `None` where there is none."""
    try:
        return _checked(error)
    except Exception:
        pass
    dropped = _drop_unpicklable(error, set())
    if dropped:
        _add_notes(error, [f"left out, as it cannot be pickled: {', '.join(dropped)}"])
    try:
        return _checked(error)
    except Exception:
        return None


def _checked(error):
    pickled = dumps(error)
    if type(loads(pickled)).__name__ != type(error).__name__:
        raise TypeError("it comes back as something else")
    return pickled


def _drop_unpicklable(error, seen):
    """Removes attributes and, in the chain, exceptions that cannot be pickled; their names."""
    seen.add(id(error))
    dropped = []
    for name, value in list(vars(error).items()):
        if name != "__notes__" and not _is_picklable(value):
            BaseException.__delattr__(error, name)
            dropped.append(f"`{name}`")
    if not _is_picklable(error.args):
        args = tuple(value if _is_picklable(value) else repr(value) for value in error.args)
        BaseException.__setattr__(error, "args", args)
        dropped.append("a part of `args`")
    for name in ("__cause__", "__context__"):
        other = getattr(error, name)
        if other is not None and id(other) not in seen:
            BaseException.__setattr__(other, "__traceback__", None)
            _drop_unpicklable(other, seen)
            if not _is_picklable(other):
                BaseException.__setattr__(error, name, None)
                dropped.append(f"`{name}`")
    return dropped


def _is_picklable(value):
    try:
        dumps(value)
        return True
    except Exception:
        return False
