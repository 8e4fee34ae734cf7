"""Values of the standard library as arguments, globals and results."""

import array
import collections
import datetime
import decimal
import functools
import heapq
import io
import ipaddress
import itertools
import json
import math
import operator
import pathlib
import random
import re
import string
import struct
import types
import typing
import uuid
import zoneinfo

PATTERN = re.compile("(?P<n>[0-9]+)", re.I | re.M)
TABLE = types.MappingProxyType({"a": 1})
HANDLERS = {"double": lambda x: 2 * x, "none": None, "nested": {"square": lambda x: x * x}}
GROUPS = collections.defaultdict(lambda: [0])
GROUPS["a"].append(1)
NESTED = collections.defaultdict(lambda: collections.defaultdict(int))
NESTED["x"]["y"] += 1
CONTEXT = decimal.Context(prec=5)
TEMPLATE = string.Template("$who is here")
BUFFER = io.StringIO("text")
BYTES = io.BytesIO(b"bytes")
RANDOM = random.Random(7)
STRUCT = struct.Struct("<ih")
ZONE = zoneinfo.ZoneInfo("UTC")
GETTER = operator.attrgetter("real")
METHOD = operator.methodcaller("upper")
ITERATOR = iter([1, 2, 3])
CHAIN = itertools.chain([1], (2,))
COUNT = itertools.count(3, 2)
CYCLE = itertools.cycle("ab")
NAMESPACE = types.SimpleNamespace(a=1, f=lambda: 2)
SELF_LIST = [1]
SELF_LIST.append(SELF_LIST)
SELF_DICT = {}
SELF_DICT["me"] = SELF_DICT
EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X"))
HEAP = [3, 1, 2]
heapq.heapify(HEAP)
UNION = typing.Optional[int]
ALIAS = typing.Dict[str, typing.List[int]]
LITERAL = typing.Literal["a", 1]
NEWTYPE = typing.NewType("UserId", int)
SORTED = sorted
MATH = {"sqrt": math.sqrt, "max": max, "cls": dict, "mod": json}
PARTIAL = functools.partial(int, base=2)
REDUCED = functools.partial(functools.reduce, operator.mul)
WARNING = DeprecationWarning
CODES = {404: LookupError, 500: RuntimeError}
MODULES = [math, json]


def pattern(p):
    return p.pattern, p.flags, p.search("a12")["n"], PATTERN.findall("1 22"), p == PATTERN


def proxy():
    return TABLE["a"], type(TABLE).__name__, dict(TABLE)


def handlers(h):
    return HANDLERS["double"](3), h["nested"]["square"](4), sorted(h), h["none"]


def groups(g):
    g["new"].append(5)
    return sorted(g), g.default_factory(), sorted(GROUPS)[0]


def nested_default():
    NESTED["x"]["y"] += 1
    NESTED["p"]["q"] += 5
    return {key: dict(value) for key, value in NESTED.items()}


def decimals(c):
    with decimal.localcontext(c) as ctx:
        ctx.prec += 1
        one = decimal.Decimal(1) / 7
    return one, CONTEXT.divide(decimal.Decimal(1), decimal.Decimal(3)), decimal.getcontext().prec


def template():
    return TEMPLATE.substitute(who="ann"), string.ascii_lowercase[:3]


def buffers():
    return BUFFER.read(), BYTES.read(2), BYTES.tell()


def random_state(r):
    first = r.random()
    return first, RANDOM.random(), r.getstate()[0], [random.Random(3).randint(1, 100) for _ in range(2)]


def seeded():
    random.seed(42)
    return random.random(), random.sample(range(100), 3), random.choice("abc")


def packed():
    return STRUCT.pack(1, 2), STRUCT.size, STRUCT.unpack(b"\x01\0\0\0\x02\0")


def zones(d):
    other = d.astimezone(ZONE)
    return other, d.utcoffset(), other.tzinfo is ZONE, d.tzname(), d.isoformat(), d.timestamp()


def folds(d):
    return d.fold, d.replace(fold=0) == d, d.time()


def operators(values):
    return [GETTER(v) for v in values], METHOD("a"), operator.itemgetter(1, 0)("xy")


def iterators(i):
    return list(i), next(COUNT), next(CYCLE), list(CHAIN), list(itertools.islice(COUNT, 2))


def zipped(z, e, m):
    return list(z), list(e), list(m)


def namespace(n):
    n.b = 3
    return n, n == types.SimpleNamespace(a=1, b=3), NAMESPACE.f()


def self_list(s):
    return s[1] is s, SELF_LIST[1] is SELF_LIST


def self_dict(s):
    return s["me"]["me"] is s, len(SELF_DICT)


def make_self():
    items = [1]
    items.append(items)
    table = {"items": items}
    table["self"] = table
    return items


def heap(h):
    return heapq.heappop(h), heapq.nsmallest(2, h)


def hints():
    return UNION == typing.Optional[int], ALIAS.__args__[0] is str, LITERAL.__args__, NEWTYPE(4), NEWTYPE.__name__


def callables():
    return MATH["sqrt"](9), MATH["max"]([1, 2]), MATH["cls"](a=1), MATH["mod"].dumps([1]), SORTED([2, 1])


def partials(p):
    return p("101"), PARTIAL("11"), REDUCED([2, 3, 4]), p.func is int, p.keywords


def classes_of_errors():
    try:
        raise CODES[404]("x")
    except LookupError as error:
        return type(error).__name__, issubclass(WARNING, Warning)


def modules():
    return [m.__name__ for m in MODULES], MODULES[0] is math


def surrogates(s):
    return s, len(s), s.encode("utf-8", "surrogatepass"), s == "\ud800x"


def big_int(n):
    return n + 1, n.bit_length(), -n


def digits():
    try:
        return len(str(10**5000))
    except ValueError as error:
        return "limit", "4300" in str(error)


def numbers(z, i, n):
    return z * 1j, i > 1e308, n != n, -0.0, math.copysign(1, -0.0), 0.1 + 0.2, 1e-323, complex("nan").real != 0


def views(d):
    return sorted(d.keys()), list(d.values()), list(d.items())


def arrays(a):
    a.append(4)
    return a, a.typecode, array.array("d", [1.5]), a.tobytes()[:4]


def mutated(items, table, kinds):
    items.append(1)
    table["new"] = items
    kinds.add("x")
    return items, table, kinds


def same_object(a, b):
    a.append(1)
    return b, a is b


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def depth(value):
    n = 0
    while value:
        value, n = value[0], n + 1
    return n


def nested_arg(value):
    return depth(value)


def many_keys():
    return {i: str(i) for i in range(2000)}, set(range(500)), tuple(range(300))


def uuids(u):
    return u.hex, u.version, str(u), u == uuid.UUID(int=u.int), uuid.uuid5(uuid.NAMESPACE_DNS, "x")


def paths(p):
    return p / "b", p.parent, p.suffix, str(p), p.parts, pathlib.PurePosixPath("/a/b").name


def addresses(a, n):
    return a in n, a + 1, n.num_addresses, a.is_private, ipaddress.ip_interface("10.0.0.1/8")


def counters(c):
    c.update("ab")
    return c, c.most_common(1), c - collections.Counter("a"), c["zz"]


def chain_map(m):
    m["new"] = 1
    return m, m["a"], list(m.maps[1])


def deques(d):
    d.append(9)
    d.rotate(1)
    return d, d.maxlen, list(d)


def ordered(o):
    o.move_to_end("a")
    return o, list(o), o == {"a": 1, "b": 2}, next(reversed(o))


def dates(d, t, delta):
    return d + delta, d.isocalendar()[1], t.replace(hour=1), delta.total_seconds(), d.strftime("%Y"), datetime.date.fromisoformat("2020-02-29")


CASES = [
    ("compiled pattern", pattern, (PATTERN,)),
    ("mapping proxy", proxy, ()),
    ("lambdas in dicts", handlers, (HANDLERS,)),
    ("defaultdict of a lambda", groups, (GROUPS,)),
    ("nested defaultdict", nested_default, ()),
    ("decimal contexts", decimals, (CONTEXT,)),
    ("string.Template", template, ()),
    ("buffers", buffers, ()),
    ("random.Random", random_state, (random.Random(5),)),
    ("random.seed", seeded, ()),
    ("Struct", packed, ()),
    ("zones", zones, (EPOCH,)),
    ("fold", folds, (datetime.datetime(2020, 1, 1, fold=1),)),
    ("operator callables", operators, ([1, 2.5],)),
    ("iterators", iterators, (ITERATOR,)),
    ("zip, enumerate, map", zipped, (zip([1], "a"), enumerate("b"), map(str, [1]))),
    ("SimpleNamespace", namespace, (types.SimpleNamespace(a=1),)),
    ("list that holds itself", self_list, (SELF_LIST,)),
    ("dict that holds itself", self_dict, (SELF_DICT,)),
    ("list that holds itself back", make_self, ()),
    ("heap", heap, (HEAP,)),
    ("typing values", hints, ()),
    ("callables in a dict", callables, ()),
    ("partials", partials, (PARTIAL,)),
    ("classes of errors", classes_of_errors, ()),
    ("modules in a list", modules, ()),
    ("surrogates", surrogates, ("\ud800x",)),
    ("huge int", big_int, (7**5000,)),
    ("digit limit", digits, ()),
    ("inf, nan, complex", numbers, (1 + 2j, math.inf, math.nan)),
    ("dict views", views, ({"a": 1},)),
    ("array", arrays, (array.array("i", [1, 2]),)),
    ("arguments mutated", mutated, ([], {}, set())),
    ("one object twice", lambda a, b: same_object(a, b), ((lambda x: (x, x))([0]))),
    ("nested 300 deep", nested, (100,)),
    ("nested argument", nested_arg, (nested(100),)),
    ("many keys", many_keys, ()),
    ("UUID", uuids, (uuid.UUID(int=5 << 64 | 4 << 76),)),
    ("Path", paths, (pathlib.PurePosixPath("/tmp/a.txt"),)),
    ("ipaddress", addresses, (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/24"))),
    ("Counter", counters, (collections.Counter("aab"),)),
    ("ChainMap", chain_map, (collections.ChainMap({}, {"a": 1}),)),
    ("deque with maxlen", deques, (collections.deque([1, 2], 2),)),
    ("OrderedDict", ordered, (collections.OrderedDict(a=1, b=2),)),
    ("dates", dates, (datetime.date(2024, 2, 28), datetime.time(12, 30), datetime.timedelta(days=1, microseconds=5))),
]
