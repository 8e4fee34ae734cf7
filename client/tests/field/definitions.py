"""What the cases of several files use; `run.py` defines it in each script before the file's own."""

import collections.abc
import dataclasses
import enum
from dataclasses import InitVar, dataclass, field
from typing import ClassVar, Generic, NamedTuple, TypeVar

K = TypeVar("K")


@dataclass
class WithInit:
    a: int
    scale: InitVar[int]
    kind: ClassVar[str] = "with"
    b: int = field(init=False)
    c: list = field(default_factory=list)
    hidden: int = field(default=9, repr=False, metadata={"unit": "m"})

    def __post_init__(self, scale):
        self.b = self.a * scale


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


def child(c):
    return c.who(), isinstance(c, Parent), c == Child(1, 2), Child.__mro__[1] is Parent, dataclasses.asdict(c)


def key(k):
    return k.n, k in {Key("a")}, hash(k) == hash(Key("a")), {k: 1}[Key("a")]


def made(a, b):
    return a.get(), b.get(), type(a) is type(b), type(a) is MadeA, type(b) is MadeB


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


def tree(t):
    return t.total(), Tree(1, [Tree(2)]).total(), repr(t)


def defaulting(d):
    return d["x"], d["a"], type(d) is Defaulting


def auto(a):
    return a.value, a is Auto.BETA


class AppError(Exception):
    code = 500

    def __init__(self, message, *, status=None, **details):
        super().__init__(message)
        self.status = status
        self.details = details

    def __str__(self):
        return f"[{self.status}] {self.args[0]} {self.details}"


class SubError(AppError):
    code = 404


@dataclasses.dataclass
class DataError(Exception):
    path: str
    line: int = 0

    def __str__(self):
        return f"{self.path}:{self.line}"


class Holder:
    def __repr__(self):
        return f"Holder({self.x})"

    def __init__(self, x):
        self.x = x


class Cancelled(BaseException):
    pass


def sub():
    try:
        raise SubError("sub", status=1)
    except AppError as error:
        error.extra = 5
        raise


def base():
    raise Cancelled("base")
