"""Classes of a script that come back, and what newer Pythons have."""

import collections.abc
import dataclasses
import enum
import sys
import typing
from dataclasses import InitVar, dataclass, field
from typing import Any, Callable, ClassVar, Generic, NamedTuple, TypeVar

K = TypeVar("K")


MadeA, MadeB = make_class(1), make_class(2)


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
