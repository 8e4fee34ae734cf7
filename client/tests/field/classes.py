"""Classes of a script, of every kind, as arguments, results and globals."""

import abc
import collections
import dataclasses
import enum
import functools
import typing
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, IntFlag, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


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


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Slotted and other.x == self.x


class Box(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item

    def get(self) -> T:
        return self.item


class IntBox(Box[int]):
    pass


class Meta(type):
    made = []

    def __new__(mcs, name, bases, namespace, **more):
        if name != "Registered" and "kind" not in namespace:
            raise TypeError("a kind is missing")
        made = super().__new__(mcs, name, bases, namespace)
        Meta.made.append(name)
        return made

    def __len__(cls):
        return 7


class Registered(metaclass=Meta):
    pass


class Special(Registered):
    kind = "special"


class Plugin:
    registry = {}

    def __init_subclass__(cls, /, key, **more):
        super().__init_subclass__(**more)
        cls.key = key
        Plugin.registry[key] = cls


class Json(Plugin, key="json"):
    pass


class Yaml(Plugin, key="yaml"):
    pass


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


class Foreign:
    def area(self):
        return 1


Shape.register(Foreign)


@typing.runtime_checkable
class Sized(Protocol):
    def size(self) -> int: ...


class HasSize:
    def size(self):
        return 3


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


class Reduced:
    def __init__(self, a):
        self.a = a
        self.built = True

    def __reduce__(self):
        return Reduced, (self.a,)


class Stateful:
    def __init__(self):
        self.kept, self.dropped = 1, open

    def __getstate__(self):
        return {"kept": self.kept}

    def __setstate__(self, state):
        self.__dict__.update(state, dropped=None)


class Shared:
    limits = {"n": 1}
    total = 0

    def add(self, n):
        Shared.total += n
        return Shared.total


class Cached:
    def __init__(self, n):
        self.n = n

    @functools.cached_property
    def square(self):
        return self.n**2


class Wrapped:
    def __init__(self, value):
        self._value = value

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        self._value = value + 1

    @classmethod
    def of(cls, value):
        return cls(value)

    @staticmethod
    def twice(n):
        return 2 * n


class Outer:
    class Inner:
        def __init__(self, n):
            self.n = n


class Node:
    def __init__(self, value):
        self.value, self.next, self.owner = value, None, None


class Base:
    def hello(self):
        return "base"


class Left(Base):
    def hello(self):
        return "left " + super().hello()


class Right(Base):
    def hello(self):
        return "right " + super().hello()


class Diamond(Left, Right):
    def hello(self):
        return "diamond " + super().hello()


class Annotated_:
    n: "int"
    other: "Annotated_"


class Validated:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner):
        return self if instance is None else getattr(instance, self.name)

    def __set__(self, instance, value):
        if value < 0:
            raise ValueError("negative")
        setattr(instance, self.name, value)


class Account:
    balance = Validated()

    def __init__(self, balance):
        self.balance = balance


class Hashed:
    def __init__(self, key):
        self.key = key

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return isinstance(other, Hashed) and other.key == self.key


class Singleton:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance


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


def slotted(s):
    return s == Slotted(1), hasattr(s, "__dict__"), Slotted(2)


def box(b):
    return b.get(), isinstance(b, Box), IntBox(3).get(), Box[int].__origin__ is Box


def new_box():
    return IntBox(5)


def special(c):
    return len(c), c is Special, c.kind, isinstance(c, Meta), Meta.made


def made_special(s):
    return isinstance(s, Special), len(type(s))


def plugins():
    return sorted(Plugin.registry), Plugin.registry["json"] is Json, Json.key


def plugin(p):
    return p.key, Plugin.registry[p.key] is type(p)


def abstract(s):
    try:
        Shape()
        refused = False
    except TypeError:
        refused = True
    return s.area(), isinstance(s, Shape), isinstance(Foreign(), Shape), refused


def protocol(s):
    return isinstance(s, Sized), isinstance(3, Sized)


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


def reduced(r):
    return r.a, r.built, type(r) is Reduced


def stateful(s):
    return s.kept, hasattr(s, "dropped")


def shared(a, b):
    type(a).limits["n"] += 1
    return a.add(1), b.add(2), Shared.total, b.limits, type(a) is type(b) is Shared


def cached(c):
    return c.square, c.square, "square" in vars(c)


def wrapped(w):
    w.value = 4
    return w.value, Wrapped.of(1).value, w.twice(3)


def inner(i):
    return i.n, type(i) is Outer.Inner, Outer.Inner(4).n


def cycle(n):
    return n.next.next is n, n.owner["node"] is n


def new_cycle():
    a, b = Node(1), Node(2)
    a.next, b.next = b, a
    return a


def same_twice(a, b):
    return a is b, a.x


def diamond(d):
    return d.hello(), [c.__name__ for c in type(d).__mro__]


def annotated(a):
    return type(a).__annotations__["n"], typing.get_type_hints(type(a))["other"] is type(a)


def account(a):
    try:
        a.balance = -1
    except ValueError as error:
        return str(error), a.balance, type(a).balance.name


def hashed(d):
    return d[Hashed("k")], Hashed("k") in d


def singleton(s):
    return s is Singleton(), Singleton() is Singleton()


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


def local_class(n):
    class Local:
        def get(self):
            return n

    return Local().get(), Local.__qualname__


def matching(c):
    namespace = {"Command": Command, "c": c}
    exec("match c:\n case Command('go'): r = 'went'\n case _: r = 'default'", namespace)
    return namespace["r"]


def many(points):
    return sum(p.x for p in points), all(type(p) is Point for p in points)


def by_mode(table):
    return table[Mode.SLOW], sorted(m.name for m in table)


def new_error():
    return ValueError("as a value")


def shared_node():
    a, b = Node(1), Node(2)
    a.next, b.next = b, a
    a.owner = b.owner = {"node": a}
    return a


def _cyclic():
    a = shared_node()
    return a


_point = Point(2)
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
    ("slots", slotted, (Slotted(1),)),
    ("generic", box, (Box(4),)),
    ("generic returned", new_box, ()),
    ("metaclass", special, (Special,)),
    ("instance of a metaclass's class", made_special, (Special(),)),
    ("__init_subclass__ with keywords", plugins, ()),
    ("instance of such a class", plugin, (Yaml(),)),
    ("abstract class", abstract, (Square(3),)),
    ("protocol", protocol, (HasSize(),)),
    ("dict subclass with state", counted, (Counted({"a": 1}),)),
    ("dict subclass returned", new_counted, ()),
    ("list subclass", stack, (Stack([1, 2]),)),
    ("float subclass", meters, (Meters(2),)),
    ("str subclass", strings, (Upper("K"),)),
    ("set subclass", unique, (Unique([2, 1]),)),
    ("custom __reduce__", reduced, (Reduced(5),)),
    ("custom state", stateful, (Stateful(),)),
    ("class attributes are shared", shared, (Shared(), Shared())),
    ("cached_property", cached, (Cached(4),)),
    ("property, classmethod, staticmethod", wrapped, (Wrapped(1),)),
    ("nested class", inner, (Outer.Inner(2),)),
    ("cycle", cycle, (_cyclic(),)),
    ("the same twice", same_twice, (_point, _point)),
    ("super and mro", diamond, (Diamond(),)),
    ("annotations as strings", annotated, (Annotated_(),)),
    ("descriptor with __set_name__", account, (Account(5),)),
    ("own hash", hashed, ({Hashed("k"): 1},)),
    ("singleton", singleton, (Singleton(),)),
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
    ("class in a function", local_class, (4,)),
    ("many instances", many, ([Point(n) for n in range(50)],)),
    ("enum keys", by_mode, ({Mode.FAST: 1, Mode.SLOW: 2},)),
    ("exception as a value", new_error, ()),
]
if __import__("sys").version_info >= (3, 10):
    CASES.append(("match", matching, (Command("go"),)))
    Thin = dataclass(slots=True)(type("Thin", (), {"__annotations__": {"n": int}, "__module__": __name__, "__qualname__": "Thin"}))
    CASES.append(("dataclass with slots", lambda t: (t.n, t == Thin(3), hasattr(t, "__dict__")), (Thin(3),)))
    Fixed = dataclass(slots=True, frozen=True)(type("Fixed", (), {"__annotations__": {"n": int}, "__module__": __name__, "__qualname__": "Fixed"}))
    CASES.append(("frozen dataclass with slots", through, (Fixed(3),)))
