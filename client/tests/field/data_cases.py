"""Classes of a script that hold data: data classes, enumerations, tuples, subclasses of builtins."""

import collections
import dataclasses
import typing
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, IntFlag, auto
from typing import NamedTuple


@dataclass
class Point:
    x: int
    y: int = 0

    def moved(self):
        return Point(self.x + 1, self.y)


@dataclass(frozen=True)
class Frozen:
    name: str
    parts: tuple = ()


@dataclass(order=True)
class Version:
    major: int
    minor: int = 0
    tags: list = field(default_factory=list, compare=False)


class Mode(Enum):
    FAST = 1
    SLOW = 2
    QUICK = 1

    @property
    def label(self):
        return self.name.lower()


class Planet(Enum):
    EARTH = (5.9, 6.3)
    MARS = (6.4, 3.4)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius


class Coded(Enum):
    def __new__(cls, code, label):
        made = object.__new__(cls)
        made._value_ = code
        made.label = label
        return made

    OK = (200, "fine")
    GONE = (410, "gone")


class Level(IntEnum):
    LOW = 1
    HIGH = 3


class Perm(Flag):
    R = auto()
    W = auto()
    X = auto()
    RW = R | W


class Bits(IntFlag):
    A = 1
    B = 2


class Word(str, Enum):
    YES = "yes"
    NO = "no"


class Record(NamedTuple):
    """A record with a method."""

    a: int
    b: str = "b"

    def double(self):
        return 2 * self.a

Pair = collections.namedtuple("Pair", "left right")


class Counted(dict):
    """A dict with state of its own."""

    def __init__(self, *args):
        super().__init__(*args)
        self.source = "here"


class Stack(list):
    def __init__(self, *args):
        super().__init__(*args)
        self.limit = 5


class Meters(float):
    def __add__(self, other):
        return Meters(float(self) + other)


class Upper(str):
    pass


class Unique(set):
    pass


class Typed(typing.TypedDict):
    a: int


class Command:
    __match_args__ = ("verb",)

    def __init__(self, verb):
        self.verb = verb

SENTINEL = object()

DEFAULT = Point(9)

ORIGIN = Frozen("origin")


def is_point(p):
    return p == Point(1), isinstance(p, Point), type(p) is Point


def moved(p):
    return p.moved()


def only_uses(p):
    return type(p).__name__, p.x


def is_fast(m):
    return m is Mode.FAST, m is Mode.QUICK, m.label


def other_mode(m):
    return Mode.SLOW if m is Mode.FAST else Mode.FAST


def through(value):
    return value


def planet(p):
    return p.mass, Planet.MARS.radius, p is Planet.EARTH


def coded(c):
    return c.label, Coded(410) is Coded.GONE, c is Coded.OK


def level(n):
    return n is Level.LOW, n + 1, Level(3) is Level.HIGH


def perms(p):
    return p & Perm.W, p is Perm.RW, Perm.R in p, Perm.RW.name


def bits(b):
    return b | Bits.B, isinstance(b, int), b == Bits.A


def word(w):
    return w is Word.YES, w == "yes", w.upper()


def record(r):
    return r.double(), r._replace(b="c"), isinstance(r, Record), r.b


def pair(p):
    return p.left + p.right, isinstance(p, Pair), Pair(3, 4)


def counted(c):
    return dict(c), c.source, isinstance(c, Counted)


def new_counted():
    return Counted({"a": 1})


def stack(s):
    return list(s), s.limit, type(s) is Stack


def meters(m):
    return m + 1, isinstance(m, Meters)


def strings(s):
    return s.lower(), type(s) is Upper, {Upper("k"): 1}


def unique(u):
    return sorted(u), type(u) is Unique


def same_twice(a, b):
    return a is b, a.x


def typed(t):
    return Typed(a=1) == t, sorted(Typed.__annotations__)


def sentinel(x=SENTINEL):
    return x is SENTINEL


def default(p=DEFAULT):
    return p is DEFAULT, p.x


def compare(a, b):
    return a < b, max(a, b), a.tags


def nested_data(d):
    return [p.x for p in d["points"]], d["modes"][Mode.SLOW], d["records"][0].double()


def class_back():
    return Point


def classes(cls, n):
    return cls(n), cls is Point


def type_of(p):
    return type(p)


def replaced(p):
    return dataclasses.replace(p, x=7), dataclasses.asdict(p), [f.name for f in dataclasses.fields(p)]


def copies(p):
    import copy
    import pickle

    return copy.deepcopy(p) == p, type(pickle.loads(pickle.dumps(p))) is type(p)


def matching(c):
    namespace = {"Command": Command, "c": c}
    exec("match c:\n case Command('go'): r = 'went'\n case _: r = 'default'", namespace)
    return namespace["r"]


def many(points):
    return sum(p.x for p in points), all(type(p) is Point for p in points)


def by_mode(table):
    return table[Mode.SLOW], sorted(m.name for m in table)

POINT = Point(2)


CASES = [
    ("dataclass", is_point, (Point(1),)),
    ("dataclass returned", moved, (Point(1),)),
    ("dataclass that the function does not name", only_uses, (Point(4),)),
    ("frozen dataclass", through, (Frozen("a", (1, 2)),)),
    ("frozen global", lambda f: f == ORIGIN and f is not None, (Frozen("origin"),)),
    ("ordered dataclass", compare, (Version(1, 2), Version(1, 3, ["x"]))),
    ("dataclass tools", replaced, (Point(3),)),
    ("enum member", is_fast, (Mode.FAST,)),
    ("enum returned", other_mode, (Mode.FAST,)),
    ("enum through", through, (Mode.SLOW,)),
    ("enum with __init__", planet, (Planet.EARTH,)),
    ("enum with __new__", coded, (Coded.OK,)),
    ("enum with __new__ returned", through, (Coded.GONE,)),
    ("int enum", level, (Level.LOW,)),
    ("flag", perms, (Perm.RW,)),
    ("flag returned", through, (Perm.R | Perm.X,)),
    ("int flag", bits, (Bits.A,)),
    ("str enum", word, (Word.YES,)),
    ("named tuple", record, (Record(4),)),
    ("named tuple through", through, (Record(4, "q"),)),
    ("collections.namedtuple", pair, (Pair(1, 2),)),
    ("dict subclass with state", counted, (Counted({"a": 1}),)),
    ("dict subclass returned", new_counted, ()),
    ("list subclass", stack, (Stack([1, 2]),)),
    ("float subclass", meters, (Meters(2),)),
    ("str subclass", strings, (Upper("K"),)),
    ("set subclass", unique, (Unique([2, 1]),)),
    ("the same twice", same_twice, (POINT, POINT)),
    ("typed dict", typed, ({"a": 1},)),
    ("sentinel by default", sentinel, ()),
    ("sentinel as argument", sentinel, (SENTINEL,)),
    ("object by default", default, ()),
    ("shared object as argument", default, (DEFAULT,)),
    ("data with instances inside", nested_data, ({"points": [Point(1)], "modes": {Mode.SLOW: 2}, "records": [Record(3)]},)),
    ("class returned", class_back, ()),
    ("class as argument", classes, (Point, 3)),
    ("type of an argument", type_of, (Point(1),)),
    ("copy and pickle within", copies, (Point(1),)),
    ("many instances", many, ([Point(n) for n in range(50)],)),
    ("enum keys", by_mode, ({Mode.FAST: 1, Mode.SLOW: 2},)),
]


if __import__("sys").version_info >= (3, 10):
    CASES.append(("match", matching, (Command("go"),)))
    Thin = dataclass(slots=True)(type("Thin", (), {"__annotations__": {"n": int}, "__module__": __name__, "__qualname__": "Thin"}))
    CASES.append(("dataclass with slots", lambda t: (t.n, t == Thin(3), hasattr(t, "__dict__")), (Thin(3),)))
    Fixed = dataclass(slots=True, frozen=True)(type("Fixed", (), {"__annotations__": {"n": int}, "__module__": __name__, "__qualname__": "Fixed"}))
    CASES.append(("frozen dataclass with slots", through, (Fixed(3),)))
