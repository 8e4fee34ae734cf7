"""Classes of a script: the protocols of pickle and of containers."""

import collections.abc
import copyreg
import enum
from dataclasses import InitVar, dataclass, field


class NewArgs:
    def __new__(cls, a, *, b):
        made = super().__new__(cls)
        made.a, made.b = a, b
        return made

    def __getnewargs_ex__(self):
        return (self.a,), {"b": self.b}


class ReduceEx:
    def __init__(self, a):
        self.a = a
        self.log = []

    def __reduce_ex__(self, protocol):
        return _rebuild, (self.a,), {"state": 1}, iter([1, 2]), iter([("k", "v")])

    def __setstate__(self, state):
        self.log.append(("state", state["state"]))

    def append(self, item):
        self.log.append(item)

    def extend(self, items):
        self.log.extend(items)

    def __setitem__(self, key, value):
        self.log.append((key, value))


def _rebuild(a):
    return ReduceEx(a + 1)


class Foreign:
    def __init__(self, n):
        self.n = n


copyreg.pickle(Foreign, lambda foreign: (Foreign, (foreign.n,)))


class Iterated:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.n

    def __getitem__(self, at):
        return at * 2

    def __contains__(self, item):
        return item == 99

    def __reversed__(self):
        return iter([3, 2, 1])

    def __bool__(self):
        return False

    def __format__(self, spec):
        return f"<{spec}>"

    def __index__(self):
        return self.n

    def __missing__(self, key):
        return key

    def __call__(self, *args):
        return args

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True


class LimitedList(list):
    """Whose methods refuse what pickling would call."""

    def append(self, item):
        raise TypeError("use add")

    def add(self, item):
        super().append(item)


class Mapped(collections.abc.MutableMapping):
    def __init__(self):
        self.inner = {}

    def __getitem__(self, key):
        return self.inner[key]

    def __setitem__(self, key, value):
        self.inner[key] = value

    def __delitem__(self, key):
        del self.inner[key]

    def __iter__(self):
        return iter(self.inner)

    def __len__(self):
        return len(self.inner)


class Mixed(str, enum.Enum):
    A = "a"

    def __new__(cls, value):
        made = str.__new__(cls, value)
        made._value_ = value
        made.extra = value * 2
        return made


MadeA, MadeB = make_class(1), make_class(2)


def new_args(n):
    return n.a, n.b


def int_with_new(i):
    return i + 1, i.unit, type(i).__name__


def reduce_ex(a):
    import pickle

    r = pickle.loads(pickle.dumps(ReduceEx(a)))
    return r.a, r.log, type(r) is ReduceEx


def foreign(f):
    return f.n


def iterated(i):
    with i as same:
        raise ValueError("swallowed")
    return list(i), len(i), i[4], 99 in i, list(reversed(i)), bool(i), f"{i:x}", [0, 1, 2][i], i(1), same is i


def limited(items):
    items.add(3)
    return list(items), type(items) is LimitedList


def bag(b):
    b["B"] = 2
    return dict(b), b["a"], type(b) is Bag


def mapped(m):
    m["b"] = 2
    return dict(m), m.get("a"), isinstance(m, collections.abc.Mapping)


def chained(c):
    return list(c.items()), c.extra


def counted(c):
    return c.top(), c["z"], type(c + c).__name__


def ring(r):
    r.append(9)
    return list(r), r.maxlen


def color(c):
    return c.paint("it"), Color.first() is c, Color.count(), Color("green") is Color.GREEN, Color.CRIMSON is c, str(c), Color["RED"] is c


def colors():
    return list(Color), sorted(Color.__members__), Color.RED in Color, {Color.RED: 1}[Color("r")], hash(Color.RED) == hash("RED")


def mixed(m):
    return m + "b", m.extra, m is Mixed.A, isinstance(m, str)


CASES = [
    ("__getnewargs_ex__", new_args, (NewArgs(1, b=2),)),
    ("int subclass with __new__", int_with_new, (IntWithNew(4, "m"),)),
    ("__reduce_ex__ with all six", reduce_ex, (1,)),
    ("copyreg of the script", foreign, (Foreign(2),)),
    ("every special method", iterated, (Iterated(2),)),
    ("__missing__", defaulting, (Defaulting(a=1),)),
    ("list subclass that refuses append", limited, (LimitedList([1, 2]),)),
    ("UserDict", bag, (Bag(A=1),)),
    ("MutableMapping", mapped, ((lambda m: (m.__setitem__("a", 1), m)[1])(Mapped()),)),
    ("OrderedDict subclass", chained, (Chained(a=1),)),
    ("Counter subclass", counted, (CountedBag("aab"),)),
    ("deque subclass", ring, (Ring([1, 2]),)),
    ("enum with everything", color, (Color.RED,)),
    ("enum members", colors, ()),
    ("enum returned list", lambda: [Color.CRIMSON, Auto.ALPHA], ()),
    ("enum auto by name", auto, (Auto.BETA,)),
    ("str enum with __new__", mixed, (Mixed.A,)),
]
