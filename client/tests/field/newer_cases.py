"""Classes of a script that come back, and what newer Pythons have."""

import collections.abc
import dataclasses
import enum
import sys
import typing
from dataclasses import InitVar, dataclass, field
from typing import Any, Callable, ClassVar, Generic, NamedTuple, TypeVar

K = TypeVar("K")


@dataclass
class Parent:
    a: int

    def who(self):
        return "parent"


@dataclass
class Child(Parent):
    b: int = 2

    def who(self):
        return "child of " + super().who()


@dataclass(frozen=True)
class Key:
    name: str
    n: int = 0

    def __post_init__(self):
        object.__setattr__(self, "n", self.n + 1)


@dataclass
class Tree:
    value: int
    children: "list[Tree]" = field(default_factory=list)

    def total(self):
        return self.value + sum(child.total() for child in self.children)


class Calling(type):
    calls = 0

    def __call__(cls, *args, **kwargs):
        Calling.calls += 1
        made = super().__call__(*args, **kwargs)
        made.by_meta = True
        return made


class Called(metaclass=Calling):
    def __init__(self, n):
        self.n = n


class SlotsBase:
    __slots__ = ("a",)


class SlotsChild(SlotsBase):
    __slots__ = ("b",)

    def __init__(self):
        self.a, self.b = 1, 2


class SlotsAndDict(SlotsBase):
    def __init__(self):
        self.a, self.more = 3, 4


class SlotPrivate:
    __slots__ = ("__secret",)

    def __init__(self):
        self.__secret = 5

    def get(self):
        return self.__secret


class IntWithNew(int):
    def __new__(cls, value, unit):
        made = super().__new__(cls, value)
        made.unit = unit
        return made

    def __getnewargs__(self):
        return int(self), self.unit


class Defaulting(dict):
    def __missing__(self, key):
        return f"no {key}"


class Bag(collections.UserDict):
    def __setitem__(self, key, value):
        super().__setitem__(key.lower(), value)


class Chained(collections.OrderedDict):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = "e"


class CountedBag(collections.Counter):
    def top(self):
        return self.most_common(1)[0][0]


class Ring(collections.deque):
    def __init__(self, items=(), maxlen=2):
        super().__init__(items, maxlen)


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"
    CRIMSON = "r"

    def paint(self, thing):
        return f"{self.name} {thing}"

    @classmethod
    def first(cls):
        return next(iter(cls))

    @staticmethod
    def count():
        return len(Color)

    @classmethod
    def _missing_(cls, value):
        return cls.GREEN if value == "green" else None

    def __str__(self):
        return self.value


class Auto(enum.Enum):
    def _generate_next_value_(name, start, count, last):
        return name.lower()

    ALPHA = enum.auto()
    BETA = enum.auto()


class Bits(enum.Flag):
    NONE = 0
    A = enum.auto()
    B = enum.auto()
    AB = A | B


class Employee(NamedTuple):
    name: str
    id: int = 3

    def __repr__(self):
        return f"<Employee {self.name}>"

    @property
    def upper(self):
        return self.name.upper()


class Stack(Generic[K]):
    def __init__(self) -> None:
        self.items: "list[K]" = []

    def push(self, item: K) -> "Stack[K]":
        self.items.append(item)
        return self


def make_class(n):
    class Made:
        value = n

        def get(self):
            return __class__.value + n

    return Made


MadeA, MadeB = make_class(1), make_class(2)


def child(c):
    return c.who(), isinstance(c, Parent), c == Child(1, 2), Child.__mro__[1] is Parent, dataclasses.asdict(c)


def key(k):
    return k.n, k in {Key("a")}, hash(k) == hash(Key("a")), {k: 1}[Key("a")]


def tree(t):
    return t.total(), Tree(1, [Tree(2)]).total(), repr(t)


def defaulting(d):
    return d["x"], d["a"], type(d) is Defaulting


def auto(a):
    return a.value, a is Auto.BETA


def made(a, b):
    return a.get(), b.get(), type(a) is type(b), type(a) is MadeA, type(b) is MadeB


CASES = [
    ("frozen instances back", lambda: {Key("a"): Key("b")}, ()),
    ("dataclass with instances back", lambda: Tree(1, [Tree(2)]), ()),
    ("slots back", lambda: [SlotsChild(), SlotsAndDict()], ()),
    ("UserDict back", lambda: Bag(A=1), ()),
    ("OrderedDict subclass back", lambda: Chained(a=1), ()),
    ("Counter subclass back", lambda: CountedBag("aab"), ()),
    ("deque subclass back", lambda: Ring([1, 2, 3]), ()),
    ("defaulting dict back", lambda: Defaulting(a=1), ()),
    ("int subclass with __new__ back", lambda: IntWithNew(3, "m"), ()),
    ("generic instance back", lambda: Stack().push(1), ()),
    ("flag combination back", lambda: Bits.A | Bits.B, ()),
    ("instance of a metaclass's class back", lambda: Called(3), ()),
    ("instance with private slot back", lambda: SlotPrivate(), ()),
    ("shared instance back", lambda: (lambda p: [p, p])(Parent(1)), ()),
]
if sys.version_info >= (3, 10):
    exec('''
@dataclass(kw_only=True)
class KwOnly:
    a: int
    b: int = 2
    _: dataclasses.KW_ONLY = None

@dataclass(slots=True)
class SlottedChild(Parent):
    c: int = 3
    def both(self):
        return self.a, self.c

@dataclass(slots=True, frozen=True, order=True)
class FrozenSlots:
    a: int = 1
    b: tuple = ()
    def with_super(self):
        return super().__repr__() != ""

P = typing.ParamSpec("P")

class Handler(Generic[P]):
    def __init__(self, f: Callable[P, Any]):
        self.f = f
    def __call__(self, *args: P.args, **kwargs: P.kwargs):
        return self.f(*args, **kwargs)

def matches(value):
    match value:
        case KwOnly(a=1, b=b): return "kw", b
        case Tree(value, [Tree(v)]): return "tree", value, v
        case Color.RED: return "red"
        case {"k": [x, *rest]}: return x, rest
        case Employee(name=n): return n
        case str() | int(): return "plain"
        case _: return "none"
''')
    CASES += [
        ("kw_only", lambda k: (k, k == KwOnly(a=1), dataclasses.replace(k, b=3)), (KwOnly(a=1),)),
        ("slots dataclass with a parent", lambda s: (s.both(), s.who(), SlottedChild(5)), (SlottedChild(4),)),
        ("frozen slots dataclass", lambda s: (s < FrozenSlots(2), hash(s) == hash(FrozenSlots()), {s: 1}), (FrozenSlots(),)),
        ("ParamSpec", lambda h: (h(1, 2), isinstance(h, Handler)), (Handler(max),)),
        ("match", lambda values: [matches(v) for v in values], ([KwOnly(a=1), Tree(1, [Tree(2)]), Color.RED, {"k": [1, 2, 3]}, Employee("n"), 3, None],)),
        ("union types", lambda x: isinstance(x, int | Parent), (Parent(1),)),
    ]
if sys.version_info >= (3, 11):
    exec('''
class Level(enum.StrEnum):
    LOW = enum.auto()

class Strict(enum.Flag, boundary=enum.STRICT):
    A = 1
    B = 2

class WithMember(enum.Enum):
    @enum.member
    class Inner:
        pass
    @enum.nonmember
    class Not:
        x = 1
    Y = 1

class Typed(typing.TypedDict, total=False):
    a: typing.Required[int]
    b: str

class Self_:
    def me(self) -> typing.Self:
        return self
''')
    CASES += [
        ("StrEnum", lambda e: (e is Level.LOW, f"{e}", e == "low"), (Level.LOW,)),
        ("strict flag", lambda f: (f is Strict.A, f | Strict.B), (Strict.A,)),
        ("nonmember", lambda: (WithMember.Not.x, len(WithMember), WithMember.Y), ()),
        ("TypedDict with Required", lambda: (sorted(Typed.__required_keys__), Typed.__total__, Typed(a=1)), ()),
        ("typing.Self", lambda s: s.me() is s, (Self_(),)),
    ]
if sys.version_info >= (3, 12):
    exec('''
class Box[T]:
    def __init__(self, item: T):
        self.item = item
    def map[R](self, f: Callable[[T], R]) -> "Box[R]":
        return Box(f(self.item))

def first[T](items: list[T]) -> T:
    return items[0]

type Pair[A] = tuple[A, A]
type Name = str

class Sub(Box[int]):
    @typing.override
    def map(self, f):
        return super().map(f)
''')
    CASES += [
        ("PEP 695 class", lambda b: (b.map(str).item, Box[int](3).item, Box.__type_params__[0].__name__, type(b) is Box), (Box(4),)),
        ("PEP 695 function", first, ([7],)),
        ("PEP 695 aliases", lambda: (Name.__value__ is str, Pair.__name__, str(Pair[int])), ()),
        ("PEP 695 subclass", lambda s: (s.map(str).item, isinstance(s, Box)), (Sub(3),)),
    ]
