"""Classes of a script: data classes, metaclasses, slots and attributes."""

import dataclasses
import functools
import weakref
from dataclasses import InitVar, dataclass, field
from typing import Any, Callable, ClassVar, Generic, NamedTuple, TypeVar


@dataclass(eq=False)
class ByIdentity:
    a: int


class Preparing(type):
    @classmethod
    def __prepare__(mcs, name, bases, **more):
        return {"prepared": name}

    def __new__(mcs, name, bases, namespace, **more):
        made = super().__new__(mcs, name, bases, dict(namespace))
        made.options = more
        return made

    def __init__(cls, name, bases, namespace, **more):
        super().__init__(name, bases, namespace)


class Prepared(metaclass=Preparing, table="t"):
    pass


class MetaProperty(type):
    @property
    def label(cls):
        return cls.__name__.lower()

    def __getattr__(cls, name):
        if name.startswith("dyn_"):
            return name[4:]
        raise AttributeError(name)

    def __iter__(cls):
        return iter([1, 2])

    def __contains__(cls, item):
        return item == 1


class Labelled(metaclass=MetaProperty):
    pass


class Getitem:
    def __class_getitem__(cls, item):
        return cls, item


class Node:
    __slots__ = ("value", "__weakref__")

    def __init__(self, value):
        self.value = value


class Mangled:
    def __init__(self):
        self.__n = 1

    def __bump(self):
        self.__n += 1
        return self.__n

    def bump(self):
        return self.__bump()


class Lazy:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return "lazy " + name


class Frosty:
    def __init__(self, n):
        object.__setattr__(self, "n", n)

    def __setattr__(self, name, value):
        raise AttributeError("read only")


class Temperature:
    def __init__(self, c):
        self.c = c

    @functools.cached_property
    def f(self):
        return self.c * 9 / 5 + 32

    @functools.singledispatchmethod
    def add(self, other):
        raise NotImplementedError

    @add.register
    def _(self, other: int):
        return self.c + other

    @add.register
    def _(self, other: str):
        return f"{self.c}{other}"

    def power(self, n, e):
        return (self.c + n) ** e

    squared = functools.partialmethod(power, e=2)

    @functools.lru_cache(maxsize=None)
    def cached(self, n):
        return self.c * n

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def twice(n):
        return 2 * n

    @classmethod
    def make(cls, c):
        return cls(c)

    @property
    def kelvin(self):
        return self.c + 273

    @kelvin.setter
    def kelvin(self, k):
        self.c = k - 273

    @kelvin.deleter
    def kelvin(self):
        self.c = None


MadeA, MadeB = make_class(1), make_class(2)


def with_init(w):
    return w.a, w.b, w.c, w.hidden, WithInit.kind, WithInit(1, 2), dataclasses.fields(w)[-1].metadata["unit"]


def frozen_error(k):
    try:
        k.n = 4
    except dataclasses.FrozenInstanceError as error:
        return type(error).__name__, str(error)


def identity(a, b):
    return a == b, a is b, a == a


def calling(c):
    return c.by_meta, Called(2).by_meta, type(Called) is Calling


def prepared(p):
    return p.prepared, p.options, type(type(p)) is Preparing


def meta_property():
    return Labelled.label, Labelled.dyn_x, list(Labelled), 1 in Labelled


def class_getitem():
    return Getitem[int][1] is int, Getitem[1][0] is Getitem


def slot_weakref(n):
    return weakref.ref(n)().value, hasattr(n, "__dict__")


def slots_child(s, d):
    return s.a, s.b, d.a, d.more, hasattr(s, "__dict__")


def slot_private(s):
    return s.get()


def mangled(m):
    return m.bump(), m._Mangled__n


def lazy(o):
    return o.anything


def frosty(f):
    try:
        f.n = 2
    except AttributeError as error:
        return f.n, str(error)


def temperature(t):
    k = t.kelvin
    t.kelvin = 300
    return t.f, t.add(1), t.add("x"), t.squared(1), t.cached(2), t.twice(4), k, t.c, Temperature.make(1).c


def delete_attribute(t):
    del t.kelvin
    return t.c


CASES = [
    ("InitVar, ClassVar, default_factory, metadata", with_init, (WithInit(2, 3),)),
    ("dataclass inheritance", child, (Child(1),)),
    ("frozen with __post_init__", key, (Key("a"),)),
    ("FrozenInstanceError", frozen_error, (Key("a"),)),
    ("identity kept", identity, (ByIdentity(1), ByIdentity(1))),
    ("recursive dataclass", tree, (Tree(1, [Tree(2), Tree(3, [Tree(4)])]),)),
    ("metaclass with __call__", calling, (Called(1),)),
    ("metaclass with __prepare__ and keywords", prepared, (Prepared(),)),
    ("metaclass with properties", meta_property, ()),
    ("__class_getitem__", class_getitem, ()),
    ("slots with __weakref__", slot_weakref, (Node(3),)),
    ("slots inherited", slots_child, (SlotsChild(), SlotsAndDict())),
    ("private slot", slot_private, (SlotPrivate(),)),
    ("mangled names", mangled, (Mangled(),)),
    ("__getattr__ with a guard", lazy, (Lazy(),)),
    ("read-only instance", frosty, (Frosty(1),)),
    ("every descriptor of functools", temperature, (Temperature(10),)),
    ("deleter", delete_attribute, (Temperature(1),)),
]
