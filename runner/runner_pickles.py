"""Reads and writes the pickles of one call, so that they are one object graph.

A function and its arguments arrive as two pickles. Functions of the client's `__main__` share the globals of
ours, and a class that both pickles define is made once. What the Python package sent with the call is referred
to in the result.
"""

import builtins
import copyreg
import enum
import importlib.abc
import importlib.util
import pickle
import sys
import threading
import types
import typing
from contextvars import ContextVar
from io import BytesIO
from types import CodeType, FunctionType

import cloudpickle
import cloudpickle.cloudpickle as _cloudpickle
import dill

# dill's own default. Every Python 3 that belljar serves reads it.
PROTOCOL = 4
# With this one the content of arrays is written as it is, not made into a bytes object first.
_ARRAY_PROTOCOL = 5
_LARGE_BYTES = 64 << 10

# dill resolves the globals of a function of the client's `__main__` to the namespace of ours.
_main = sys.modules["__main__"].__dict__
# `__spec__` is what `multiprocessing` asks a script for before it spawns.
_MAIN_AT_START = {"__name__": "__main__", "__doc__": None, "__spec__": None, "__builtins__": builtins}


class _CallState:
    """What the pickles of one call have made."""

    def __init__(self):
        self.is_ours = False  # The Python package sent it: results may refer to classes that it sent.
        self.is_cloudpickled = False  # Who sent it reads cloudpickle's pickles.
        self.classes = {}  # By tracker id, which is the class's id at the client.
        self.tracker_ids = {}  # The other way, by `id`.
        self.filled = set()  # The `id`s of classes whose attributes are set.
        self.dill_classes = {}  # Lists of those with the same name, with what they were made of.
        self.dill_globals = []  # What dill's functions have as globals.
        self.set_variables = []  # Context variables and the tokens that undo what was set.
        self.globals = {}  # Of modules that travelled by value, by name.
        self.objects = ()
        self.modules = {}  # The modules that the client sent, and what stood in their place.


call_state = _CallState()


# What pickles name, and how it is made here. cloudpickle's and dill's own versions make a class once for each
# pickle, and run hooks that have run at the client.


def _make_function(code, namespace, name, defaults, closure):
    module = namespace.get("__name__")
    if module == "__main__":
        shared = _main
    else:
        shared = call_state.globals.setdefault(module, namespace)
    shared["__builtins__"] = builtins
    return FunctionType(code, shared, name, defaults, closure)


def _make_class(kind, name, bases, namespace, tracker_id, extra=None):
    found = call_state.classes.get(tracker_id)
    if found is not None:
        return found
    quiet = _silence([base for base in bases if isinstance(base, type)])
    try:
        return _track(_new_class(kind, name, bases, namespace), tracker_id)
    finally:
        for owner, hook in quiet:
            owner.__init_subclass__ = hook


def _new_class(kind, name, bases, namespace):
    if _is_of_script(kind):
        # What a metaclass of the script does to a new class it has done there.
        maker = next(base for base in kind.__mro__ if "__new__" in vars(base) and not _is_of_script(base))
        resolved = types.resolve_bases(bases)
        if resolved is not bases:
            namespace = {**namespace, "__orig_bases__": bases}
        return maker.__new__(kind, name, resolved, dict(namespace))
    if kind.__name__ == "_TypedDictMeta":
        return type.__new__(kind, name, (dict,), dict(namespace))
    return types.new_class(name, bases, {"metaclass": kind}, lambda made: made.update(namespace))


def _is_of_script(cls):
    return id(cls) in call_state.tracker_ids or cls.__module__ == "__main__"


def _silence(bases):
    """Takes `__init_subclass__` away from classes that the client sent: it has run there."""
    quiet = []
    for base in bases:
        for owner in base.__mro__:
            if id(owner) in call_state.tracker_ids and "__init_subclass__" in vars(owner):
                quiet.append((owner, vars(owner)["__init_subclass__"]))
                owner.__init_subclass__ = classmethod(lambda cls, **_: None)
    return quiet


def _make_enum(bases, name, qualname, members, module, tracker_id, extra=None):
    found = call_state.classes.get(tracker_id)
    if found is not None:
        return found
    kind = type(bases[-1])
    namespace = kind.__prepare__(name, bases)
    for member, value in members.items():
        is_odd = isinstance(value, type) or hasattr(value, "__get__")  # Of itself it would be no member.
        namespace[member] = enum.member(value) if is_odd and hasattr(enum, "member") else value
    made = kind.__new__(kind, name, bases, namespace)
    made.__module__, made.__qualname__ = module, qualname
    return _track(made, tracker_id)


def _track(made, tracker_id):
    call_state.classes[tracker_id] = made
    call_state.tracker_ids[id(made)] = tracker_id
    return made


def _fill_class(made, state):
    if id(made) in call_state.filled:
        return made  # The other pickle has brought it: what it looks like now is right.
    call_state.filled.add(id(made))
    attributes, more = state
    members = attributes.pop("__belljar_members__", {})
    registered = attributes.pop("__belljar_registered__", ())
    cached = attributes.pop("__annotations_cache__", None)
    _cloudpickle._class_setstate(made, (attributes, more))
    if cached is not None:
        made.__annotations__ = cached
    for base in registered:
        base.register(made)
    for name, values in members.items():
        made.__members__[name].__dict__.update(values)
    if isinstance(made, enum.EnumMeta):  # cloudpickle takes aliases for attributes.
        for name, value in attributes.items():
            if type(value) is made:
                made._member_map_.setdefault(name, value)
    if not members and isinstance(made, enum.EnumMeta) and isinstance(vars(made).get("__init__"), FunctionType):
        for member in made:  # Made by plain cloudpickle before the class had it.
            member.__init__(*(member._value_ if isinstance(member._value_, tuple) else (member._value_,)))
    module, qualname = made.__module__, made.__qualname__
    if "." not in qualname:
        namespace = _main if module == "__main__" else call_state.globals.get(module, {})
        namespace.setdefault(qualname, made)
    return made


def _fill_wrapped(wrapper, state):
    _cloudpickle._function_setstate(wrapper.__wrapped__, state)


def _create_type(kind, *args):
    # As dill does, but a class that both pickles define is made once, and no hook of a metaclass runs again.
    if len(args) != 3 or not isinstance(args[2], dict) or args[2].get("__module__") != "__main__":
        return dill._dill._create_type(kind, *args)
    name, bases, namespace = args
    known = call_state.dill_classes.setdefault((name, namespace.get("__qualname__")), [])
    others = [made for made, maker, before in known if maker is not call_state.unpickler and _are_alike(namespace, before)]
    if len(others) == 1:
        return others[0]
    before = dict(namespace)
    if _is_of_script(kind) or kind.__name__ == "_TypedDictMeta":
        made = _new_class(kind, name, bases, namespace)
    else:
        made = dill._dill._create_type(kind, *args)
    known.append((made, call_state.unpickler, before))
    if "." not in made.__qualname__:
        _main.setdefault(made.__name__, made)
    return made


def _are_alike(one, other):
    """Whether two namespaces are of one class, as far as can be told before their functions have their state."""
    names = set(one) - {"__slotnames__"}  # A cache, which appears when an instance is pickled.
    return names == set(other) - {"__slotnames__"} and all(_is_alike(one[name], other[name]) for name in names)


def _is_alike(one, other):
    if type(one) is FunctionType and type(other) is FunctionType:
        cells = zip(map(_content, one.__closure__ or ()), map(_content, other.__closure__ or ()))
        return one.__code__ == other.__code__ and all(_is_alike(*pair) for pair in cells if None not in pair)
    if type(one) in _PLAIN and type(other) in _PLAIN:
        return one == other
    return type(one).__name__ == type(other).__name__


def _content(cell):
    """What a cell holds, if it can be compared; dill fills some later."""
    try:
        return cell.cell_contents if type(cell.cell_contents) in _PLAIN else None
    except ValueError:
        return None


_PLAIN = {int, float, str, bytes, bool, type(None)}


def _create_function(code, namespace, *rest):
    # dill gives each function of the script its own copy of the globals that it uses.
    if type(namespace) is dict and namespace is not _main and namespace.get("__name__") == "__main__":
        call_state.dill_globals.append(namespace)
    return dill._dill._create_function(code, namespace, *rest)


def _create_lock(*_):
    return threading.Lock()


def _create_rlock(*_):
    # dill's own is locked by nobody who could unlock it.
    return threading.RLock()


def _create_code(*args):
    # The line table of Python 3.10, then the fields of 3.11 in the order of their constructor: what
    # dill writes in 3.11, and works out again from the number and types of the arguments.
    if len(args) == 19 and {type(args[7]), type(args[15]), type(args[16])} == {bytes}:
        return CodeType(*args[1:])
    return dill._dill._create_code(*args)


# The names of the Python package's module `belljar._remote`.


def _plain_function(code):
    return FunctionType(code, _main)


def _function(modules, function, extras, objects):
    call_state.objects = objects
    for names in extras:
        if type(names) is dict:  # What texts of the function name.
            for name, value in names.items():
                _main.setdefault(name, value)
    return function


def known_class(tracker_id):
    return call_state.classes[tracker_id]


def _known_object(index):
    return call_state.objects[index]


def _modules(sources, values):
    """Makes the modules that the client sent importable, each anew for each call."""
    for name, (source, path, is_package) in sources.items():
        call_state.modules[name] = sys.modules.pop(name, None)
        _finder.sources[name] = source, path, is_package, values.get(name)
    sys.meta_path.insert(0, _finder)


def _context_variable(name, default, now):
    variable = ContextVar(name, default=default[0]) if default else ContextVar(name)
    if now:
        call_state.set_variables.append((variable, variable.set(now[0])))
    return variable


def _type_parameter(kind, name, args, options, tracker_id):
    found = call_state.classes.get(tracker_id)
    if found is None:
        found = call_state.classes[tracker_id] = getattr(typing, kind)(name, *args, **options)
    return found


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
_names["dill._dill", "_create_function"] = _create_function
_names["dill._dill", "_create_lock"] = _create_lock
_names["dill._dill", "_create_rlock"] = _create_rlock
if sys.version_info[:2] == (3, 11):
    _names["dill._dill", "_create_code"] = _create_code
for _module in ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast"):
    _names[_module, "_make_function"] = _make_function
    _names[_module, "_make_skeleton_class"] = _make_class
    _names[_module, "_make_skeleton_enum"] = _make_enum
    _names[_module, "_class_setstate"] = _fill_class
_names["belljar._remote", "code"] = CodeType
for _named in (_function, _plain_function, known_class, _known_object, _modules, _fill_wrapped, _context_variable, _type_parameter):
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
        if module == "belljar._remote":
            call_state.is_ours = True
        elif module == "cloudpickle.cloudpickle":
            call_state.is_cloudpickled = True
        known = _names.get((module, name))
        return dill.Unpickler.find_class(self, module, name) if known is None else known


def begin():
    """Forgets the call before."""
    _main.clear()
    _main.update(_MAIN_AT_START)
    call_state.__init__()


def end():
    """Takes away again what the client sent beside the function."""
    if call_state.modules:
        _finder.clear(call_state.modules)
    for variable, token in call_state.set_variables:
        variable.reset(token)


def loads(data):
    """The value of a pickle of this call."""
    call_state.unpickler = unpickler = _Unpickler(BytesIO(data))
    value = unpickler.load()
    for names in call_state.dill_globals:  # `__main__` has them too, for what looks there.
        for name in names.keys() - _main.keys():
            _main[name] = names[name]
    return value


class _Pickler(cloudpickle.Pickler):
    """cloudpickle's; for the Python package, a class that it sent is referred to by its tracker id."""

    def reducer_override(self, obj):
        if isinstance(obj, type):
            tracker_id = call_state.tracker_ids.get(id(obj))
            if tracker_id is not None and call_state.is_ours:
                return known_class, (tracker_id,)
        elif isinstance(obj, BaseException):
            return _reduce_exception(obj)
        elif isinstance(obj, enum.Enum) and id(type(obj)) in call_state.tracker_ids:
            is_named = obj._name_ in type(obj).__members__
            return (getattr, (type(obj), obj._name_)) if is_named else (type(obj), (obj._value_,))
        return super().reducer_override(obj)


def dumps(value):
    """The pickle of a value for the client."""
    protocol = PROTOCOL
    if not isinstance(value, BaseException):
        try:
            # The C pickler writes what dill would, ten times as fast, and refuses what only dill can do.
            pickled, has_arrays = _probe(value)
            if has_arrays:
                protocol = _ARRAY_PROTOCOL
            # Except for what lives in `__main__`: to others a reference to ours means nothing. Long bytes are slow to look through.
            if not call_state.globals and (type(value) in (bytes, str) or b"__main__" not in pickled):
                return pickle.dumps(value, _ARRAY_PROTOCOL) if has_arrays else pickled
        except Exception:
            pass
    file = BytesIO()
    (_Pickler if call_state.is_ours or call_state.is_cloudpickled else _DillPickler)(file, protocol).dump(value)
    return file.getvalue()


def _probe(value):
    """A pickle, and whether the content of arrays is left out of it, which names nothing."""
    # What the sandbox returns is read without trust, by what knows the older protocol alone.
    if "numpy" not in sys.modules or sys.platform == "wasi":
        return pickle.dumps(value, PROTOCOL), False
    arrays = []
    pickled = pickle.dumps(value, _ARRAY_PROTOCOL, buffer_callback=arrays.append)
    if arrays or len(pickled) >= _LARGE_BYTES:
        return pickled, bool(arrays)
    return pickle.dumps(value, PROTOCOL), False


class _DillPickler(dill.Pickler):
    """dill's, with exceptions that arrive as they are."""

    def reducer_override(self, obj):
        if isinstance(obj, BaseException):
            return _reduce_exception(obj)
        # By name, so that a builtin exception can be read without dill.
        is_exception = isinstance(obj, type) and issubclass(obj, BaseException)
        return obj.__name__ if is_exception and getattr(builtins, obj.__name__, None) is obj else NotImplemented


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
    if make in (type(error), copyreg.__newobj__) and call_state.is_ours and not is_own and _runs_code(type(error)):
        args = args if make is copyreg.__newobj__ else (type(error), *args)
        return known_exception, args, state, None, None, set_exception_state
    return (make, args, state) if state else (make, args)


def _runs_code(cls):
    return isinstance(cls.__new__, FunctionType) or isinstance(cls.__setattr__, FunctionType)


def known_exception(cls, *args):
    """An exception made past its class's own `__new__`, which may want other arguments."""
    maker = next(base for base in cls.__mro__ if not isinstance(vars(base).get("__new__", known_exception), (staticmethod, FunctionType)))
    return maker.__new__(cls, *args)


def set_exception_state(error, state):
    """Sets attributes past the class's own `__setattr__`: that of a frozen data class refuses."""
    for name, value in state.items():
        BaseException.__setattr__(error, name, value)


