"""Classes of a script: inheritance, metaclasses, descriptors, state."""

import abc
import functools
import typing
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


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


def local_class(n):
    class Local:
        def get(self):
            return n

    return Local().get(), Local.__qualname__


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


CASES = [
    ("slots", slotted, (Slotted(1),)),
    ("generic", box, (Box(4),)),
    ("generic returned", new_box, ()),
    ("metaclass", special, (Special,)),
    ("instance of a metaclass's class", made_special, (Special(),)),
    ("__init_subclass__ with keywords", plugins, ()),
    ("instance of such a class", plugin, (Yaml(),)),
    ("abstract class", abstract, (Square(3),)),
    ("protocol", protocol, (HasSize(),)),
    ("custom __reduce__", reduced, (Reduced(5),)),
    ("custom state", stateful, (Stateful(),)),
    ("class attributes are shared", shared, (Shared(), Shared())),
    ("cached_property", cached, (Cached(4),)),
    ("property, classmethod, staticmethod", wrapped, (Wrapped(1),)),
    ("nested class", inner, (Outer.Inner(2),)),
    ("cycle", cycle, (_cyclic(),)),
    ("super and mro", diamond, (Diamond(),)),
    ("annotations as strings", annotated, (Annotated_(),)),
    ("descriptor with __set_name__", account, (Account(5),)),
    ("own hash", hashed, ({Hashed("k"): 1},)),
    ("singleton", singleton, (Singleton(),)),
    ("class in a function", local_class, (4,)),
    ("exception as a value", new_error, ()),
]
