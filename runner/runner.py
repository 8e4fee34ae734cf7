"""Runs one call: decode, call, encode.

Both runtimes run this file, the native interpreter and the sandbox's guest, so that a function means the
same in both. It keeps nothing between calls but caches, and knows nothing of processes, limits or wasm;
its host calls `run` and passes the answer on.

A function and its arguments arrive as two pickles. They are one object graph all the same: functions of
the client's `__main__` share the globals of ours, and a class that both pickles define is made once.
"""

import builtins
import copyreg
import enum
import importlib.abc
import importlib.util
import os
import pickle
import sys
import traceback
import types
from contextvars import ContextVar
from io import BytesIO
from time import perf_counter_ns
from types import CodeType, CoroutineType, FunctionType

import cloudpickle
import cloudpickle.cloudpickle as _cloudpickle
import dill

# dill's own default. Every Python 3 that belljar serves reads it.
PROTOCOL = 4

# dill resolves the globals of a function of the client's `__main__` to the namespace of ours.
_main = sys.modules["__main__"].__dict__
_main_at_start = {"__name__": "__main__", "__doc__": None, "__builtins__": builtins}

# Freed when memory runs out, so that there is some left to report it with. CPython needs it: where it cannot
# allocate a small integer on the way into a handler, it retries without end.
_RESERVE_BYTES = 1 << 20
_reserve = [bytearray(_RESERVE_BYTES)]

_KINDS = ((MemoryError, "memory"), (RecursionError, "recursion"))


class _CallState:
    """What the pickles of one call have made."""

    def __init__(self):
        self.is_ours = False  # The Python package sent it: results may refer to classes that it sent.
        self.classes = {}  # By tracker id, which is the class's id at the client.
        self.tracker_ids = {}  # The other way, by `id`.
        self.filled = set()  # The `id`s of classes whose attributes are set.
        self.dill_classes = {}
        self.globals = {}  # Of modules that travelled by value, by name.
        self.objects = ()
        self.modules = {}  # The modules that the client sent, and what stood in their place.


_call = _CallState()


# What pickles name, and how it is made here. cloudpickle's and dill's own versions make a class once for each
# pickle, and run hooks that have run at the client.


def _make_function(code, namespace, name, defaults, closure):
    module = namespace.get("__name__")
    if module == "__main__":
        shared = _main
    else:
        shared = _call.globals.setdefault(module, namespace)
    shared["__builtins__"] = builtins
    return FunctionType(code, shared, name, defaults, closure)


def _make_class(kind, name, bases, namespace, tracker_id, extra=None):
    found = _call.classes.get(tracker_id)
    if found is not None:
        return found
    quiet = _silence([base for base in bases if isinstance(base, type)])
    try:
        return _track(_new_class(kind, name, bases, namespace), tracker_id)
    finally:
        for owner, hook in quiet:
            owner.__init_subclass__ = hook


def _new_class(kind, name, bases, namespace):
    if id(kind) in _call.tracker_ids:
        # A metaclass that the client sent. What it does to a new class it has done there.
        maker = next(base for base in kind.__mro__ if "__new__" in vars(base) and id(base) not in _call.tracker_ids)
        resolved = types.resolve_bases(bases)
        if resolved is not bases:
            namespace = {**namespace, "__orig_bases__": bases}
        return maker.__new__(kind, name, resolved, dict(namespace))
    if kind.__name__ == "_TypedDictMeta":
        return type.__new__(kind, name, bases, dict(namespace))
    return types.new_class(name, bases, {"metaclass": kind}, lambda made: made.update(namespace))


def _silence(bases):
    """Takes `__init_subclass__` away from classes that the client sent: it has run there."""
    quiet = []
    for base in bases:
        for owner in base.__mro__:
            if id(owner) in _call.tracker_ids and "__init_subclass__" in vars(owner):
                quiet.append((owner, vars(owner)["__init_subclass__"]))
                owner.__init_subclass__ = classmethod(lambda cls, **_: None)
    return quiet


def _make_enum(bases, name, qualname, members, module, tracker_id, extra=None):
    found = _call.classes.get(tracker_id)
    if found is not None:
        return found
    kind = type(bases[-1])
    namespace = kind.__prepare__(name, bases)
    for member, value in members.items():
        namespace[member] = value
    made = kind.__new__(kind, name, bases, namespace)
    made.__module__, made.__qualname__ = module, qualname
    return _track(made, tracker_id)


def _track(made, tracker_id):
    _call.classes[tracker_id] = made
    _call.tracker_ids[id(made)] = tracker_id
    return made


def _fill_class(made, state):
    if id(made) in _call.filled:
        return made  # The other pickle has brought it: what it looks like now is right.
    _call.filled.add(id(made))
    attributes, more = state
    members = attributes.pop("__belljar_members__", {})
    cached = attributes.pop("__annotations_cache__", None)
    _cloudpickle._class_setstate(made, (attributes, more))
    if cached is not None:
        made.__annotations__ = cached
    for name, values in members.items():
        made.__members__[name].__dict__.update(values)
    module, qualname = made.__module__, made.__qualname__
    if "." not in qualname:
        namespace = _main if module == "__main__" else _call.globals.get(module, {})
        namespace.setdefault(qualname, made)
    return made


def _fill_wrapped(wrapper, state):
    _cloudpickle._function_setstate(wrapper.__wrapped__, state)


def _create_type(kind, *args):
    # As dill does, but a class that both pickles define is made once.
    if len(args) != 3 or not isinstance(args[2], dict) or args[2].get("__module__") != "__main__":
        return dill._dill._create_type(kind, *args)
    key = (args[0], args[2].get("__qualname__"), tuple(sorted(args[2])))
    made, maker = _call.dill_classes.get(key, (None, None))
    if made is None or maker is _call.unpickler:
        made = dill._dill._create_type(kind, *args)
        _call.dill_classes[key] = (made, _call.unpickler)
        if "." not in made.__qualname__:
            _main.setdefault(made.__name__, made)
    return made


def _create_code(*args):
    # The line table of Python 3.10, then the fields of 3.11 in the order of their constructor: what
    # dill writes in 3.11, and works out again from the number and types of the arguments.
    if len(args) == 19 and {type(args[7]), type(args[15]), type(args[16])} == {bytes}:
        return CodeType(*args[1:])
    return dill._dill._create_code(*args)


# The names of the Python package's module `belljar._remote`.


def _function(modules, function, extras, objects):
    _call.objects = objects
    return function


def known_class(tracker_id):
    return _call.classes[tracker_id]


def _known_object(index):
    return _call.objects[index]


def _modules(sources, values):
    """Makes the modules that the client sent importable, each anew for each call."""
    _call.is_ours = True
    for name, (source, path, is_package) in sources.items():
        _call.modules[name] = sys.modules.pop(name, None)
        _finder.sources[name] = source, path, is_package, values.get(name)
    if sources:
        sys.meta_path.insert(0, _finder)


def _context_variable(name, *default):
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that the client sent."""

    def __init__(self):
        self.sources = {}
        self._compiled = {}

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        _, file, is_package, _ = self.sources[name]
        spec = importlib.util.spec_from_loader(name, self, origin=file, is_package=is_package)
        spec.has_location = True
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        source, path, _, values = self.sources[module.__name__]
        code = self._compiled.get((path, source))
        if code is None:
            if len(self._compiled) > 100:
                self._compiled.clear()
            code = self._compiled[path, source] = compile(source, path, "exec", dont_inherit=True)
        exec(code, module.__dict__)
        # What the client's program has set there since.
        for name, value in pickle.loads(values).items() if values else ():
            if module.__dict__.get(name) != value:
                module.__dict__[name] = value

    def get_source(self, name):
        return self.sources[name][0]

    def clear(self, replaced):
        self.sources.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in replaced.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


_finder = _Finder()

_names = {("dill._dill", name): value for name, value in vars(dill._dill).items()}
_names["dill._dill", "_create_type"] = _create_type
if sys.version_info[:2] == (3, 11):
    _names["dill._dill", "_create_code"] = _create_code
for _module in ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast"):
    _names[_module, "_make_function"] = _make_function
    _names[_module, "_make_skeleton_class"] = _make_class
    _names[_module, "_make_skeleton_enum"] = _make_enum
    _names[_module, "_class_setstate"] = _fill_class
for _named in (_function, known_class, _known_object, _modules, _fill_wrapped, _context_variable):
    _names["belljar._remote", _named.__name__.lstrip("_")] = _named


class _Unpickler(dill.Unpickler):
    """dill's, without what it does anew for each object: reading settings and finding its own functions.

    Nor does it look for the object's class in `__main__`, which `run` has just emptied.
    """

    _main = sys.modules["__main__"]
    _ignore = dill.settings["ignore"]
    __init__ = pickle.Unpickler.__init__
    load = pickle.Unpickler.load

    def find_class(self, module, name):
        known = _names.get((module, name))
        return dill.Unpickler.find_class(self, module, name) if known is None else known


def _loads(data):
    _call.unpickler = unpickler = _Unpickler(BytesIO(data))
    return unpickler.load()


class _Pickler(cloudpickle.Pickler):
    """Writes a result for the Python package: a class that it sent is referred to by its tracker id."""

    def reducer_override(self, obj):
        if isinstance(obj, type):
            tracker_id = _call.tracker_ids.get(id(obj))
            if tracker_id is not None:
                return known_class, (tracker_id,)
        elif isinstance(obj, BaseException):
            return _reduce_exception(obj)
        elif isinstance(obj, enum.Enum) and id(type(obj)) in _call.tracker_ids:
            return type(obj), (obj._value_,)
        return super().reducer_override(obj)


def run(code, args, env=None):
    """Calls the function pickled in `code` with the `(args, kwargs)` pickled in `args`.

    `env` holds the environment variables that were granted, `NAME=VALUE` with a zero byte between two; the
    host removes them again.

    Returns `(ok, pickle, kind, message, traceback, decode_us, call_us, encode_us)`. Where `ok`, the
    pickle is the return value and the three texts are empty; else it is the exception, `kind` one of
    belljar's failure kinds, `message` the exception in one line.
    """
    if not _reserve:
        _reserve.append(bytearray(_RESERVE_BYTES))
    _main.clear()
    _main.update(_main_at_start)
    _call.__init__()
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
    if _call.modules:
        _finder.clear(_call.modules)
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

    if sys.platform != "wasi":
        return asyncio.run(coroutine)
    loop = _sandbox_loop(asyncio)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _sandbox_loop(asyncio):
    """An event loop for timers and tasks: in the sandbox there are no sockets to select from."""

    class Selector:
        def select(self, timeout):
            if timeout is None:
                raise RuntimeError("the sandbox has no threads or sockets: nothing can end this wait")
            time.sleep(max(timeout, 0))
            return ()

    class Loop(asyncio.BaseEventLoop):
        _selector = Selector()

        def _process_events(self, events):
            pass

        def _write_to_self(self):
            pass

    import time

    return Loop()


def _arguments(pair):
    if isinstance(pair, tuple) and len(pair) == 2:
        positional, keyword = pair
        if isinstance(positional, (tuple, list)) and isinstance(keyword, dict):
            return positional, keyword
    raise TypeError(
        f"the arguments must be a pickled pair (args, kwargs) of a tuple and a dict, not {_shorten(repr(pair), 200)}"
    )


def _dumps(value):
    if not isinstance(value, BaseException):
        try:
            # The C pickler writes what dill would, ten times as fast, and refuses what only dill can do.
            pickled = pickle.dumps(value, PROTOCOL)
            # Except for what lives in `__main__`: to others a reference to ours means nothing.
            if b"__main__" not in pickled and not _call.globals:
                return pickled
        except Exception:
            pass
    file = BytesIO()
    (_Pickler if _call.is_ours else _DillPickler)(file, PROTOCOL).dump(value)
    return file.getvalue()


class _DillPickler(dill.Pickler):
    """dill's, with exceptions that arrive as they are."""

    def reducer_override(self, obj):
        return _reduce_exception(obj) if isinstance(obj, BaseException) else NotImplemented


def _encode_value(value):
    try:
        return _dumps(value)
    except Exception as error:
        hint = "; return a list of its items instead" if hasattr(value, "__next__") else ""
        raise ValueError(
            f"the return value of type `{type(value).__name__}` cannot be serialized: {error}{hint}"
        ) from None


def _reduce_exception(error):
    """An exception with its cause and context, made without `__init__`, which may want other arguments."""
    reduced = error.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str) or len(reduced) > 3:
        return reduced
    make, args, state = (*reduced, None)[:3]
    if state is not None and not isinstance(state, dict):
        return reduced
    state = dict(state or {})
    # What CPython's own copy of an exception leaves out.
    for name in ("__cause__", "__context__"):
        if isinstance(getattr(error, name), BaseException):
            state[name] = getattr(error, name)
    if error.__suppress_context__:
        state["__suppress_context__"] = True
    is_own = isinstance(type(error).__reduce__, FunctionType) or isinstance(type(error).__reduce_ex__, FunctionType)
    if make is type(error) and isinstance(make.__init__, FunctionType) and not is_own:
        if isinstance(error, OSError):  # Whose `__new__` leaves this to such an `__init__`.
            fields = ("args", "errno", "strerror", "filename", "filename2")
            state.update({name: getattr(error, name) for name in fields if getattr(error, name) is not None})
        make, args = copyreg.__newobj__, (type(error), *args)
    return (make, args, state) if state else (make, args)


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


_SERIALIZE = "serialize it by `cloudpickle.dumps(f)` or `dill.dumps(f, recurse=True)`, which take along what it uses"


def _hint(error, kind):
    """What to do about a function that travelled without what it needs."""
    if type(error) is NameError:
        name = getattr(error, "name", None) or str(error).partition("'")[2].partition("'")[0]
        if not _call.is_ours:
            return f"the function travelled without `{name}`, which it uses: {_SERIALIZE}"
    elif kind == "decode" and isinstance(error, AttributeError) and "__main__" in str(error):
        return f"plain pickle refers to a script's names without taking them along: {_SERIALIZE}"
    elif isinstance(error, ModuleNotFoundError):
        where = "the sandbox has" if sys.platform == "wasi" else "this worker has"
        return (
            f"{where} no module `{error.name}`: install it for the worker or put it on its --python-path; "
            "the Python package sends modules beside the script along"
        )
    return None


def _add_notes(error, notes):
    # As `add_note` does, which Python 3.11 brought.
    error.__notes__ = [*getattr(error, "__notes__", ()), *notes]


def _encode_exception(error, text, notes):
    """The exception itself where it survives the way there and back, else a builtin of its kind."""
    try:
        error.__traceback__ = None
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
    pickled = _dumps(error)
    if type(_loads(pickled)).__name__ != type(error).__name__:
        raise TypeError("it comes back as something else")
    return pickled


def _drop_unpicklable(error, seen):
    """Removes attributes and, in the chain, exceptions that cannot be pickled; their names."""
    seen.add(id(error))
    dropped = []
    for name, value in list(vars(error).items()):
        if name != "__notes__" and not _is_picklable(value):
            delattr(error, name)
            dropped.append(f"`{name}`")
    if not _is_picklable(error.args):
        error.args = tuple(value if _is_picklable(value) else repr(value) for value in error.args)
        dropped.append("a part of `args`")
    for name in ("__cause__", "__context__"):
        other = getattr(error, name)
        if other is not None and id(other) not in seen:
            other.__traceback__ = None
            _drop_unpicklable(other, seen)
            if not _is_picklable(other):
                setattr(error, name, None)
                dropped.append(f"`{name}`")
    return dropped


def _is_picklable(value):
    try:
        _dumps(value)
        return True
    except Exception:
        return False
