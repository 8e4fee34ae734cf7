"""Writes pickles of all sorts to standard output, then judges the pickles that it is sent.

Usage: pickle_peer.py SEED COUNT. The other side is pickle_differential.rs.

First every case as one line of tab-separated fields (label, callable, type, protocol, modules, names,
length) and that many bytes; a line `end`. Then for each pickle on standard input (four bytes of length, the
pickle) one line: what `pickletools.genops` and an unpickler without any real globals say of it, and the
names that loading it asks for.
"""

import _compat_pickle
import abc
import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import operator
import os
import pathlib
import pickle
import pickletools
import random
import re
import resource
import struct
import sys
import types
import typing
import uuid

import cloudpickle
import dill

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../client/src"))
from belljar._graph import Graph


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Flags(enum.IntFlag):
    A = 1
    B = 2


Point = collections.namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    a: int
    b: str = "b"


@dataclasses.dataclass
class Data:
    number: int
    items: list = dataclasses.field(default_factory=list)

    def method(self):
        return self.number


@dataclasses.dataclass(frozen=True)
class Frozen:
    key: str


class Slotted:
    __slots__ = ("a", "b")


class Called:
    def __call__(self):
        return 1


class CalledInt(int):
    def __call__(self):
        return self


class CalledTuple(tuple):
    def __call__(self):
        return self


class CalledDict(dict):
    def __call__(self):
        return self


class Keyword:
    def __new__(cls, *, key):
        made = super().__new__(cls)
        made.key = key
        return made

    def __getnewargs_ex__(self):
        return (), {"key": self.key}


class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...


class Derived(Base):
    def run(self):
        return super().__init__

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def static():
        return Derived

    @property
    def prop(self):
        return 1


def plain(x, y=2, *args, z: int = 3, **kwargs) -> int:
    """Documented."""
    total = [i for i in range(x) if i % 2]
    try:
        return sum(total) + y + z
    except (ValueError, TypeError) as error:
        raise RuntimeError(f"{error!r:>10}") from error
    finally:
        pass


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def generator(n):
    for i in range(n):
        got = yield i
        yield from (got, i)


async def coroutine(n):
    async with n as m:
        async for x in m:
            await x
    return [y async for y in n]


def matched(value):
    match value:
        case {"a": [first, *rest], **others}:
            return first, rest, others
        case Point(x=1):
            return operator.add
    return re.compile("x").match


def importing():
    import xml.dom.minidom
    from email import message as mail
    return xml, mail


def closure(value):
    import json as inner
    counter = 0

    def count(step=1):
        nonlocal counter
        counter += step
        return counter, value, inner.dumps

    return count


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper


def make_function(rng, index):
    """A function with a body put together at random, so that bytecode varies."""
    lines = [f"def made_{index}(a, b=1, *c, d=2, **e):"]
    for _ in range(rng.randrange(1, 8)):
        lines.append("    " + rng.choice([
            "a = a + b", "a = [x for x in c]", "b = {k: v for k, v in e.items()}", "a = b or d",
            "print(a, b, sep=',')", "if a: b = a.real", "while b: b = None", "a = -b",
            "with open(a) as f: a = f.read()", "a = b if d else c", "e['x'] = a[1:2]",
            "a = lambda q: q + d", "for x in c: a += x", "assert a, b", "a, *b = c", "a = f'{a}{b!r}'",
            "import os.path", "from json import dumps", "try: a()\n    except Exception: pass",
            "a = not b", "del e['y']", "a = b is None", "a = 1 < b < 3", "a = b in c", "return a",
            "return 5", "a = {1, 2, *c}", "raise ValueError(a)", "a = yield b" if rng.random() < .2 else "pass",
        ]))
    space = {"__name__": "__main__"}
    exec("\n".join(lines), space)
    return space[f"made_{index}"]


def leaf(rng):
    return rng.choice([
        lambda: None, lambda: rng.random() < .5, lambda: rng.randrange(-300, 300),
        lambda: rng.randrange(-2**70, 2**70), lambda: 1 << rng.randrange(3000),
        lambda: -(1 << rng.randrange(3000)), lambda: rng.uniform(-1e9, 1e9),
        lambda: rng.choice([float("inf"), float("nan"), -0.0]), lambda: complex(rng.random(), 1),
        lambda: "".join(rng.choice("abc é\n\\'\"\0\ud800😀\x1a\r") for _ in range(rng.randrange(30))),
        lambda: rng.randbytes(rng.randrange(40)), lambda: bytearray(rng.randbytes(rng.randrange(40))),
        lambda: "x" * rng.choice([255, 256, 300]), lambda: b"y" * rng.choice([255, 256, 300]),
        lambda: datetime.datetime(2024, 2, 29, 1, 2, 3, rng.randrange(10**6)),
        lambda: datetime.timedelta(seconds=rng.random()), lambda: decimal.Decimal("1.5"),
        lambda: fractions.Fraction(1, 3), lambda: uuid.UUID(int=rng.getrandbits(128)),
        lambda: pathlib.PurePosixPath("/a/b"), lambda: range(rng.randrange(9)), lambda: slice(1, None),
        lambda: Colour.RED, lambda: Flags.A | Flags.B, lambda: Ellipsis, lambda: NotImplemented,
        lambda: array.array("d", [1, 2]), lambda: re.compile("a+"), lambda: ValueError("x", 1),
        lambda: Frozen("k"), lambda: Typed(1), lambda: int, lambda: len, lambda: Data,
        lambda: CalledInt(7), lambda: collections.OrderedDict(a=1), lambda: collections.Counter("aab"),
        lambda: collections.deque([1, 2], 5), lambda: collections.defaultdict(list, a=[1]),
    ])()


def value(rng, depth):
    if depth == 0 or rng.random() < .3:
        return leaf(rng)
    count = rng.choice([0, 1, 2, 3, 4, 7])
    children = [value(rng, depth - 1) for _ in range(count)]
    if children and rng.random() < .3:
        children.append(children[0])
    kind = rng.randrange(8)
    if kind == 0:
        return children
    if kind == 1:
        return tuple(children)
    if kind == 2:
        return {f"k{i}": child for i, child in enumerate(children)}
    if kind == 3:
        return {rng.randrange(1000) for _ in range(count)}
    if kind == 4:
        return frozenset(str(rng.randrange(1000)) for _ in range(count))
    if kind == 5:
        return Data(count, children)
    if kind == 6:
        return Point(children, count)
    slotted = Slotted()
    slotted.a = children
    return slotted


def recursive_values():
    nested = []
    nested.append(nested)
    yield nested
    table = {}
    table["self"] = table
    yield table
    inner = ([],)
    inner[0].append(inner)
    yield inner
    data = Data(1)
    data.items.append(data)
    yield data
    loop = set()
    key = Called()
    key.owner = loop
    loop.add(key)
    yield loop
    deep = []
    for _ in range(200):
        deep = [deep, (deep,)]
        deep.pop(0) if len(str(len(deep))) > 5 else None
        deep = [deep[1]]
    yield deep


def special():
    """(label, object, modules that the reader must see in a dill or cloudpickle of it)"""
    for item in recursive_values():
        yield "recursive", item, ()
    yield "large", b"b" * 65_535, ()
    yield "large", "s" * 65_536, ()
    yield "large", bytearray(65_537), ()
    yield "large", [b"b" * 70_000, "t" * 70_000, 1, [b"b" * 70_000], 2], ()
    yield "many", list(range(5000)), ()
    yield "many", {str(i): [i] for i in range(3000)}, ()
    yield "many", set(range(3000)), ()
    yield "many", tuple(str(i) for i in range(70_000)), ()
    yield "keyword", Keyword(key=1), ()
    for item in (Called(), CalledInt(3), CalledTuple((1,)), CalledDict(a=1), Derived().run, "x".join,
                 len, int, Data, Derived, Colour, Point, Data(3).method, Derived.make, Derived.static,
                 operator.itemgetter(1), operator.attrgetter("a.b"), operator.methodcaller("f", 1),
                 functools.partial(plain, 1, z=2), functools.partial(int, base=2), dict.fromkeys,
                 functools.lru_cache(recursive), functools.reduce, type(None), types.SimpleNamespace,
                 typing.List[int], list[int], print, sys.exit, collections.OrderedDict, Exception):
        yield "callable", item, ()
    for item in (plain, recursive, generator, coroutine, matched, closure(1), closure([1, 2]),
                 decorated(plain), decorated(closure(3)), lambda: 1, lambda x: lambda y: x + y,
                 lambda *a, **k: (a, k), plain.__code__, (lambda: (yield)), Derived.prop, Base):
        yield "function", item, ()
    yield "imports", importing, ("xml.dom.minidom", "email")
    yield "imports", closure, ("json",)
    yield "module", sys.modules["xml.etree"] if "xml.etree" in sys.modules else operator, ()
    import xml.dom.minidom
    yield "module", xml.dom.minidom, ("xml.dom.minidom",)
    yield "module", lambda: xml.dom.minidom, ()
    yield "namespace", types.SimpleNamespace(a=1), ()
    yield "mapping", types.MappingProxyType({"a": 1}), ()
    local = dataclasses.make_dataclass("Local", [("a", int)])
    yield "local class", local, ()
    yield "local object", local(1), ()

    class Inner(Data):
        def call(self):
            return super().method()

        class Nested:
            pass

    yield "local class", Inner, ()
    yield "local object", Inner(1), ()
    yield "local class", Inner.Nested, ()
    yield "local method", Inner(2).call, ()
    yield "local enum", enum.Enum("Local", "A B"), ()
    yield "local namedtuple", collections.namedtuple("Local", "a b"), ()
    yield "arguments", ((2,), {}), ()
    yield "arguments", ((plain, [1]), {"key": Derived()}), ()
    yield "handle", io.StringIO("text"), ()
    yield "weak", collections.ChainMap({}), ()
    yield "exception", KeyError("k").with_traceback(None), ()


def pure_python(item, protocol):
    return pickle._dumps(item, protocol)


def dill_variant(**settings):
    return lambda item, protocol: dill.dumps(item, protocol, **settings)


WRITERS = {
    "belljar": lambda item, protocol: Graph(item).pickled if protocol == 4 and callable(item) else None,
    "pickle": pickle.dumps,
    "pickle.py": pure_python,
    "dill": dill.dumps,
    "dill recurse": dill_variant(recurse=True),
    "dill byref": dill_variant(byref=True),
    "cloudpickle": cloudpickle.dumps,
}


def cases(seed, count):
    rng = random.Random(seed)
    for label, item, modules in special():
        for writer in WRITERS:
            for protocol in range(6):
                yield writer, protocol, label, item, modules
    for index in range(count):
        item = value(rng, rng.randrange(5))
        for writer in ("pickle", "dill", rng.choice(list(WRITERS))):
            yield writer, rng.randrange(6), "value", item, ()
    for index in range(count // 4):
        item = make_function(rng, index)
        if rng.random() < .3:
            item = [item, {"f": functools.partial(item, 1)}]
        for writer in ("belljar", "dill", "dill recurse", "cloudpickle"):
            yield writer, rng.choice([2, 3, 4, 4, 4, 5]), "function", item, ()


def write_cases(out, seed, count):
    for writer, protocol, label, item, modules in cases(seed, count):
        try:
            written = WRITERS[writer](item, protocol)
        except Exception:
            written = None
        if written is None:
            continue
        variants = [(writer, written)]
        if len(written) < 5000 and len(written) % 3 == 0:
            variants.append((writer + " optimized", pickletools.optimize(written)))
        seen = modules if writer in ("belljar", "dill", "dill recurse", "cloudpickle") and protocol >= 3 else ()
        for name, data in variants:
            fields = (f"{name}, {label}", callable(item), type(item).__name__, protocol, ",".join(seen),
                      names_in(data), len(data))
            out.write("\t".join(map(str, fields)).encode() + b"\n" + data)
    out.write(b"end\n")
    out.flush()


class Stub:
    """Stands for every global: takes everything, does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return Stub()

    def __setitem__(self, key, item):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    add = append

    def __setstate__(self, state):
        pass


HARMLESS = {kind.__name__: kind for kind in (set, frozenset, bytearray, complex, slice, range, list, dict)}
HARMLESS["xrange"] = range


class Inert(pickle.Unpickler):
    def find_class(self, module, name):
        return HARMLESS.get(name, Stub) if module in ("builtins", "__builtin__") else Stub


def data_globals():
    for line in open(os.path.join(os.path.dirname(__file__), "../../client/src/belljar/data_globals.txt")):
        module, colon, names = line.partition(": ")
        if colon and not line.startswith("#"):
            yield from ((module, name) for name in names.split())


DATA_GLOBALS = frozenset(data_globals())
for module, name in DATA_GLOBALS:  # A name of Python 2, which an old protocol would take for another.
    assert (module, name) not in _compat_pickle.NAME_MAPPING and module not in _compat_pickle.IMPORT_MAPPING
    if module in sys.modules and hasattr(sys.modules[module], name):
        assert name in ("Ellipsis", "NotImplemented") or isinstance(getattr(sys.modules[module], name), type)


class Recording(pickle.Unpickler):
    """Notes what it is asked for, and gives what stands in the table of data for real."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.names = []

    def find_class(self, module, name):
        self.names.append((module, name))
        if (module, name) in DATA_GLOBALS:
            try:
                return super().find_class(module, name)
            except Exception:
                pass  # One of another Python.
        return Stub


def names_in(data):
    """The names that loading asks for, in hexadecimal digits; a `?` at the end where loading fails."""
    loading = Recording(data)
    try:
        loading.load()
        end = []
    except BaseException:
        end = ["?"]
    names = (":".join(part.encode("utf-8", "surrogatepass").hex() for part in pair) for pair in loading.names)
    return ",".join([*names, *end])


def judge(data):
    try:
        for _ in pickletools.genops(data):
            pass
        opcodes = "fine"
    except Exception as error:
        opcodes = f"{type(error).__name__}: {error}"
    try:
        verdict = "loads\t" + type(Inert(io.BytesIO(data)).load()).__name__
    except BaseException as error:
        verdict = f"fails\t{type(error).__name__}: {error}"
    flat = [" ".join(part.split()) for part in (opcodes, *verdict.split("\t", 1))]
    return "\t".join([*flat, names_in(data)]).encode("utf-8", "backslashreplace")


def main():
    source, out = sys.stdin.buffer, sys.stdout.buffer
    write_cases(out, int(sys.argv[1]), int(sys.argv[2]))
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    sys.stdout = sys.stderr
    while header := source.read(4):
        data = source.read(struct.unpack("<I", header)[0])
        out.write(judge(data) + b"\n")
        out.flush()


main()
