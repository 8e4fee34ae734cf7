"""Functions of a script, of every kind."""

import asyncio
import collections
import contextlib
import contextvars
import datetime
import decimal
import functools
import itertools
import json
import logging
import math
import operator
import os.path
import re
import threading
import weakref

LOCK = threading.Lock()
RLOCK = threading.RLock()
EVENT = threading.Event()
LOCAL = threading.local()
LOCAL.name = "main"
LOG = logging.getLogger("field")
PATTERN = re.compile(r"(\d+)")
VARIABLE = contextvars.ContextVar("variable", default=3)
RATE = decimal.Decimal("1.5")
CONFIG = {"depth": {"n": 2}}
COUNTER = itertools.count(5)
total = 0
_private = "private"
Weak = weakref.WeakValueDictionary


def root(x):
    return math.sqrt(x)


def helper(x):
    return x + 1


def calls_helper(x):
    return helper(helper(x))


def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


def make_adder(n):
    def add(x):
        return x + n

    return add


def make_counter():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


def recursive_closure():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib


def uses_lock():
    with LOCK, RLOCK:
        return LOCK.locked()


def uses_event():
    return EVENT.is_set()


def uses_local():
    return LOCAL.name


def uses_log():
    return LOG.name


def uses_pattern(text):
    return PATTERN.findall(text)


def uses_variable():
    return VARIABLE.get()


def uses_decimal():
    return RATE * 2


def uses_config():
    return CONFIG["depth"]["n"]


def uses_global():
    global total
    total += 1
    return bump(), total


def bump():
    global total
    total += 10
    return total


@functools.lru_cache(maxsize=8)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def uses_cache(n):
    return fib(n), fib.cache_info().maxsize


@functools.singledispatch
def shown(x):
    return "object"


@shown.register
def _(x: int):
    return f"int {x}"


@shown.register(list)
def _shown_list(x):
    return [shown(item) for item in x]


def dispatches(x):
    return shown(x)


def decorate(function):
    @functools.wraps(function)
    def wrapper(*args):
        return "<" + str(function(*args)) + ">"

    return wrapper


@decorate
def decorated(x):
    """Documented."""
    return helper(x)


def uses_decorated(x):
    return decorated(x), decorated.__name__, decorated.__doc__


@contextlib.contextmanager
def managed(log):
    log.append("in")
    yield len(log)
    log.append("out")


def uses_managed():
    log = []
    with managed(log) as n:
        pass
    return n, log


def gen(n):
    yield from range(n)


def uses_generator(n):
    return list(gen(n)), sum(x for x in gen(n))


def keyword_only(a, /, b, *rest, c=3, **more):
    return a, b, rest, c, more


def default_list(x, seen=[]):
    seen.append(x)
    return seen


def lambda_default(x, key=lambda v: v * 2):
    return key(x)


def inner_import(x):
    from math import factorial as f

    return f(x)


def comprehension(xs):
    return [helper(x) for x in xs if x], {x: helper(x) for x in xs}


def attributes():
    return attributes.version


attributes.version = 4


async def coroutine(x):
    await asyncio.sleep(0)
    return x + 1


async def gathers(n):
    return await asyncio.gather(*(coroutine(x) for x in range(n)))


def applies(function, x):
    return function(x)


def is_helper(function):
    return function is helper


def returns_function(n):
    return make_adder(n)(1)


def path_join():
    return os.path.join("a", "b")


def json_text(value):
    return json.dumps(value, sort_keys=True)


def dates(d):
    return d + datetime.timedelta(days=1), d.tzinfo


def private():
    return _private, __name__


def annotations(x: "int", y: float = 1) -> "str":
    return annotations.__annotations__["x"], annotations.__annotations__["y"].__name__


def loops():
    return list(itertools.islice(itertools.chain([1], [2, 3]), 2)), operator.add(1, 2)


def walrus(xs):
    return [y for x in xs if (y := x * 2) > 2]


def star(*args, **kwargs):
    return args, kwargs


def unicode_text(s):
    return s.upper(), "ü", "\U0001f600"


def big(n):
    return 2**n


def floats():
    return float("inf"), -0.0, 1e-320


def sets():
    return {1, 2}, frozenset("ab"), b"bytes", bytearray(b"x"), range(3), slice(1, 2), 3 + 4j, ...


def collections_():
    return (
        collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1, 2], 3),
        collections.defaultdict(list, {"a": [1]}),
    )


def weak():
    class Thing:
        pass

    thing = Thing()
    table = Weak()
    table["a"] = thing
    return len(table)


class Greeter:
    def __init__(self, word):
        self.word = word

    def greet(self, name):
        return f"{self.word} {name}"

    def __call__(self, name):
        return self.greet(name)

    @classmethod
    def plain(cls, name):
        return cls("hi").greet(name)


CASES = [
    ("import at the top", root, (9,)),
    ("helpers", calls_helper, (1,)),
    ("recursion", factorial, (6,)),
    ("mutual recursion", is_even, (10,)),
    ("closure", make_adder(3), (4,)),
    ("closure with state", make_counter(), ()),
    ("recursive closure", recursive_closure(), (10,)),
    ("locks", uses_lock, ()),
    ("event", uses_event, ()),
    ("thread local", uses_local, ()),
    ("logger", uses_log, ()),
    ("pattern", uses_pattern, ("a1b22",)),
    ("context variable", uses_variable, ()),
    ("decimal global", uses_decimal, ()),
    ("dict global", uses_config, ()),
    ("globals are shared", uses_global, ()),
    ("lru_cache", uses_cache, (20,)),
    ("lru_cache itself", fib, (15,)),
    ("singledispatch", dispatches, ([1, "a"],)),
    ("singledispatch itself", shown, (3,)),
    ("decorator", uses_decorated, (1,)),
    ("decorated itself", decorated, (1,)),
    ("context manager", uses_managed, ()),
    ("generator", uses_generator, (4,)),
    ("every kind of parameter", keyword_only, (1, 2, 3)),
    ("mutable default", default_list, (1,)),
    ("lambda in a default", lambda_default, (4,)),
    ("import inside", inner_import, (5,)),
    ("comprehensions", comprehension, ([0, 1, 2],)),
    ("function attributes", attributes, ()),
    ("coroutine function", coroutine, (1,)),
    ("gather", gathers, (3,)),
    ("function as argument", applies, (helper, 4)),
    ("lambda as argument", applies, (lambda x: helper(x) * 2, 4)),
    ("identity of a function", is_helper, (helper,)),
    ("closure within", returns_function, (3,)),
    ("submodule", path_join, ()),
    ("json", json_text, ({"b": 1, "a": [None, True]},)),
    ("aware date", dates, (datetime.datetime(2024, 2, 28, tzinfo=datetime.timezone.utc),)),
    ("module name", private, ()),
    ("annotations", annotations, (1,)),
    ("itertools and operator", loops, ()),
    ("walrus", walrus, ([1, 2],)),
    ("stars", star, (1, 2)),
    ("unicode", unicode_text, ("straße",)),
    ("large number", big, (500,)),
    ("floats", floats, ()),
    ("builtin values", sets, ()),
    ("collections", collections_, ()),
    ("weak dictionary", weak, ()),
    ("method", Greeter("hello").greet, ("you",)),
    ("callable instance", Greeter("hey"), ("you",)),
    ("class method", Greeter.plain, ("you",)),
    ("partial", functools.partial(keyword_only, 1, c=5), (2,)),
    ("builtin", len, ([1, 2],)),
    ("operator.itemgetter", operator.itemgetter(1), ([3, 4],)),
    ("lambda", lambda x: root(x) + 1, (16,)),
]
