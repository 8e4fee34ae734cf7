"""Classes of a script: enumerations, tuples, generics, abstract classes and factories."""

import abc
import collections.abc
import dataclasses
import enum
import functools
import typing
import weakref
from dataclasses import InitVar, dataclass, field
from typing import Any, Callable, ClassVar, Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V", bound="Comparable")


class Comparable:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return isinstance(other, Comparable) and self.n == other.n

    def __hash__(self):
        return hash(("Comparable", self.n))

    def __lt__(self, other):
        return self.n < other.n


@functools.total_ordering
class Ordered:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n

    def __lt__(self, other):
        return self.n < other.n


class Ops(enum.Enum):
    ADD = functools.partial(lambda a, b: a + b)
    MUL = functools.partial(lambda a, b: a * b)

    def __call__(self, a, b):
        return self.value(a, b)


@enum.unique
class Single(enum.IntEnum):
    ONE = 1


class ListValue(enum.Enum):
    L = [1, 2]
    D = {"a": 1}


class Manager(Employee):
    __slots__ = ()

    def role(self):
        return "manager"


class Pairs(Generic[K, V]):
    pass


class Visitor(abc.ABC):
    registry: "dict[str, type]" = {}

    def __init_subclass__(cls, key="", **more):
        super().__init_subclass__(**more)
        Visitor.registry[key] = cls

    @property
    @abc.abstractmethod
    def label(self): ...

    @classmethod
    @abc.abstractmethod
    def make(cls): ...


class Concrete(Visitor, key="concrete"):
    label = "c"

    @classmethod
    def make(cls):
        return cls()


@collections.abc.Sequence.register
class Virtual:
    pass


class Hooked(abc.ABC):
    @classmethod
    def __subclasshook__(cls, other):
        return any("hooked" in vars(base) for base in other.__mro__)


class HasHook:
    hooked = 1


class Observed:
    observers: "list[Callable]" = []

    def __init__(self, n):
        self.n = n
        self.callback = lambda: self.n + 1
        self.bound = self.get

    def get(self):
        return self.n


class WeakParent:
    def __init__(self):
        self.child = WeakChild(self)


class WeakChild:
    def __init__(self, parent):
        self._parent = weakref.ref(parent)

    @property
    def parent(self):
        return self._parent()


class Outer:
    class Middle:
        class Inner(enum.Enum):
            X = 1

        def get(self):
            return Outer.Middle.Inner.X

    Alias = Middle


class Counter_:
    instances = []

    def __init__(self):
        type(self).instances.append(id(self))


class WithClassVarSelf:
    pass


WithClassVarSelf.default = WithClassVarSelf()
WithClassVarSelf.cls = WithClassVarSelf
Dynamic = type("Dynamic", (Parent,), {"extra": lambda self: self.a * 2})


MadeA, MadeB = make_class(1), make_class(2)


def ops(o):
    return o(2, 3), Ops.ADD(1, 2)


def single(s):
    return s is Single.ONE, s == 1, {1: "x"}[s], f"{s:d}"


def bits(b):
    return b is Bits.AB, Bits.A in b, bool(Bits.NONE), (b & ~Bits.A) is Bits.B, [x for x in Bits if x in b and x.name in "AB"]


def list_value(v):
    return v is ListValue.L, v.value, ListValue([1, 2]) is v


def employee(e, m):
    return repr(e), e.upper, e._asdict(), m.role(), m.id, isinstance(m, Employee), Employee._field_defaults, e._replace(id=1)


def stack(s):
    return s.push(2).items, Stack[int]().push(1).items, typing.get_type_hints(Stack.push)["return"].__origin__ is Stack


def type_variables():
    return str(V.__bound__), K.__name__, Pairs.__parameters__ == (K, V), Pairs[int, Comparable].__args__[0]


def type_hints(w):
    hints = typing.get_type_hints(type(w))
    return sorted(hints), hints["c"] is list, typing.get_type_hints(Tree)["children"] == list[Tree]


def visitor(v):
    return v.label, Visitor.registry["concrete"] is type(v), isinstance(v, Visitor), type(v.make()) is Concrete


def virtual(v):
    return isinstance(v, collections.abc.Sequence), issubclass(Virtual, collections.abc.Sequence)


def hooked(h):
    return isinstance(h, Hooked), isinstance(1, Hooked)


def observed(o):
    o.n = 5
    return o.callback(), o.bound(), o.bound.__self__ is o


def weak_parent(p):
    return p.child.parent is p


def outer(m):
    return m.get() is Outer.Middle.Inner.X, Outer.Alias is type(m), type(m).__qualname__


def inner_enum():
    return Outer.Middle.Inner.X


def self_default():
    return WithClassVarSelf.default is WithClassVarSelf.default, type(WithClassVarSelf.default) is WithClassVarSelf, WithClassVarSelf.cls is WithClassVarSelf


def dynamic(d):
    return d.extra(), d.who(), type(d) is Dynamic


def by_value_sets(items):
    return len(items), Comparable(1) in items, sorted(items, key=lambda c: c.n)[0].n


def compare(a, b):
    return a < b, a >= b, max(a, b).n, sorted([b, a])[0] is a


def monkeypatched(c):
    Comparable.extra = lambda self: self.n * 3
    return c.extra()


def subclasses_seen():
    class More(Parent):
        pass

    return sorted({c.__name__ for c in Parent.__subclasses__()} & {"Child", "Dynamic", "More"}), More(1).who()


def class_attributes():
    Counter_()
    return len(Counter_.instances), Counter_.__name__, Counter_.__module__, Counter_.__doc__


def repr_of(p):
    return repr(p), repr(type(p)), str(type(p).who.__qualname__)


def super_in_comprehension(c):
    class Sub(Parent):
        def names(self):
            return [m() for m in (super().who,)]

    return Sub(1).names()


def isinstance_of_type(cls):
    return issubclass(cls, Parent), cls(1).who(), cls.__init__ is not object.__init__


def instance_with_class_as_value(d):
    return d["cls"] is Child, d["obj"].a, type(d["obj"]) is d["cls"]


CASES = [
    ("enum of callables", ops, (Ops.MUL,)),
    ("unique int enum", single, (Single.ONE,)),
    ("flag operations", bits, (Bits.AB,)),
    ("enum of lists", list_value, (ListValue.L,)),
    ("NamedTuple and a subclass", employee, (Employee("ann"), Manager("bob"))),
    ("NamedTuple subclass back", lambda: Manager("eve", 4), ()),
    ("generic class", stack, (Stack(),)),
    ("type variables", type_variables, ()),
    ("get_type_hints", type_hints, (WithInit(2, 3),)),
    ("abstract properties, __init_subclass__", visitor, (Concrete(),)),
    ("virtual subclass", virtual, (Virtual(),)),
    ("__subclasshook__", hooked, (HasHook(),)),
    ("instance with a bound method and a lambda", observed, (Observed(1),)),
    ("weak reference to the parent", weak_parent, (WeakParent(),)),
    ("twice nested class", outer, (Outer.Middle(),)),
    ("nested enum back", inner_enum, ()),
    ("class that holds its own instance", self_default, ()),
    ("class by type()", dynamic, (Dynamic(2),)),
    ("two classes of one factory", made, (MadeA(), MadeB())),
    ("set of instances", by_value_sets, ({Comparable(1), Comparable(2), Comparable(1)},)),
    ("total_ordering", compare, (Ordered(1), Ordered(2))),
    ("a class changed in the call", monkeypatched, (Comparable(2),)),
    ("__subclasses__", subclasses_seen, ()),
    ("class attributes", class_attributes, ()),
    ("reprs", repr_of, (Parent(1),)),
    ("super in a comprehension", super_in_comprehension, (None,)),
    ("class of a factory as argument", isinstance_of_type, (Child,)),
    ("class and instance in a dict", instance_with_class_as_value, ({"cls": Child, "obj": Child(3)},)),
    ("set of instances back", lambda: {Comparable(1), Comparable(2)}, ()),
]
