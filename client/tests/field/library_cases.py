"""What functions make of the standard library, and values that come back."""

import array
import ast
import base64
import calendar
import collections
import contextvars
import copy
import datetime
import decimal
import fractions
import functools
import hashlib
import ipaddress
import json
import logging
import math
import pickle
import queue
import random
import re
import statistics
import sys
import textwrap
import time
import traceback
import types
import urllib.parse
import warnings
import zoneinfo

PATTERN = re.compile("(?P<n>[0-9]+)", re.I | re.M)
CONTEXT = decimal.Context(prec=5)
NAMESPACE = types.SimpleNamespace(a=1, f=lambda: 2)
LOGGER = logging.getLogger("values.child")
SORTED = sorted
MATH = {"sqrt": math.sqrt, "max": max, "cls": dict, "mod": json}
ENV = contextvars.ContextVar("env")
ENV.set("outer")


def through(x):
    return x


def pattern(p):
    return p.pattern, p.flags, p.search("a12")["n"], PATTERN.findall("1 22"), p == PATTERN


def decimals(c):
    with decimal.localcontext(c) as ctx:
        ctx.prec += 1
        one = decimal.Decimal(1) / 7
    return one, CONTEXT.divide(decimal.Decimal(1), decimal.Decimal(3)), decimal.getcontext().prec


def namespace(n):
    n.b = 3
    return n, n == types.SimpleNamespace(a=1, b=3), NAMESPACE.f()


def callables():
    return MATH["sqrt"](9), MATH["max"]([1, 2]), MATH["cls"](a=1), MATH["mod"].dumps([1]), SORTED([2, 1])


def context():
    try:
        return ENV.get()
    except LookupError:
        return "unset"


def memory(m):
    return bytes(m), m[0], m.tobytes(), len(m)


def clock():
    return time.strftime("%Y", time.gmtime(0)), time.gmtime(86400).tm_mday, time.time() > 1.6e9, time.perf_counter() > 0


def struct_time(t):
    return t.tm_year, time.mktime(t) > 0, type(t).__name__


def fraction_math(f):
    return f + 1, f.limit_denominator(10), fractions.Fraction("0.25"), f == 0.5


def decimal_special():
    return decimal.Decimal("NaN").is_nan(), decimal.Decimal("-0"), decimal.Decimal("1E+400"), decimal.Decimal("1.10")


def stats(values):
    return statistics.mean(values), statistics.median(values), statistics.pstdev(values)


def texts():
    return textwrap.dedent("  a\n  b"), base64.b64encode(b"x"), hashlib.sha256(b"x").hexdigest()[:8], urllib.parse.quote("a b/ü")


def slices(s):
    return [0, 1, 2, 3][s], s.start, slice(None, None, -1)


def ranges(r):
    return list(r), r.step, r[1], 4 in r, len(r)


def literal_types():
    return [int, str, type(None), type(...), type(NotImplemented), list, object, Exception, type]


def generic_types():
    return list[int], dict[str, int]


def special():
    return NotImplemented, ..., None, True


def function_type_names(f):
    return type(f).__name__, type(len).__name__, type(through).__name__, type("".join).__name__


def tree():
    return ast.literal_eval("{'a': [1, (2, None)]}"), ast.unparse(ast.parse("a+1"))


def copies(d):
    shallow, deep = copy.copy(d), copy.deepcopy(d)
    return shallow["a"] is d["a"], deep["a"] is d["a"], deep


def pickles(protocols):
    return [pickle.loads(pickle.dumps({"a": (1, {2})}, p)) for p in protocols]


def json_round(value):
    text = json.dumps(value, default=str, indent=1, ensure_ascii=False)
    return json.loads(text), text


def buffer_queue():
    q = queue.PriorityQueue()
    q.put((2, "b"))
    q.put((1, "a"))
    return q.get(), q.qsize(), q.get_nowait()


def calendars():
    return calendar.monthrange(2024, 2), calendar.isleap(2100)


def logger():
    return LOGGER.name, LOGGER.parent.name, LOGGER.isEnabledFor(logging.DEBUG), logging.getLevelName(30)


def warned():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("careful", UserWarning)
    return [str(w.message) for w in caught], caught[0].category.__name__


def sorted_keys(d):
    return json.dumps(d, sort_keys=True), list(d), max(d, key=d.get)


def frozen_keys(d):
    return d[frozenset({1, 2})], d[(1, (2,))], d[None], d[1.5], d[True]


def bytes_all(b):
    return b == bytes(range(256)), b[::-1][:2], bytearray(b)[:3], b.hex()[:4]


def formatted(x):
    return f"{x!r:>8}|{x:+.2f}|{x:e}|{int(x):#x}", "%5.1f" % x, "{:,}".format(int(x * 1000))


def unicode_(s):
    import unicodedata

    return unicodedata.normalize("NFC", s), s.casefold(), s.encode("utf-16-le"), len(s), s.isidentifier()


def bytes_big():
    return b"\0" * 3_000_000


def text_big(s):
    return len(s), s[-1]


def empty():
    return (), [], {}, set(), "", b"", frozenset(), None


def tuple_key(t):
    return {t: 1}[("a", 1)], hash(t) == hash(("a", 1))


def bool_int(d):
    return d, {1: "a", True: "b"}, {0.0: 1}[0], True + True


def exceptions_as_values(e):
    return e, e.args, type(e).__name__, e.__cause__


def bound(f, g, h):
    return f("x"), g(3), h()


def string_methods(f):
    return f(["a", "b"]), "{}-{}".format(1, 2)


CASES = [
    ("clock", clock, ()),
    ("struct_time", struct_time, (time.gmtime(10**9),)),
    ("Fraction", fraction_math, (fractions.Fraction(1, 2),)),
    ("special decimals", decimal_special, ()),
    ("statistics", stats, ([1, 2, 4],)),
    ("texts", texts, ()),
    ("slice", slices, (slice(1, 3),)),
    ("range", ranges, (range(0, 10, 2),)),
    ("builtin types", literal_types, ()),
    ("generic aliases", lambda: [str(t) for t in generic_types()], ()),
    ("singletons", special, ()),
    ("kinds of callables", function_type_names, (lambda: 0,)),
    ("ast", tree, ()),
    ("copy", copies, ({"a": []},)),
    ("pickle in the call", pickles, ([0, 1, 2, 3, 4, 5],)),
    ("json of odd values", json_round, ({"d": datetime.date(2020, 1, 1), "u": "ü\u2028"},)),
    ("queues", buffer_queue, ()),
    ("calendar", calendars, ()),
    ("logger of a package", logger, ()),
    ("warnings caught", warned, ()),
    ("order of keys", sorted_keys, ({"b": 1, "a": 2},)),
    ("odd keys", frozen_keys, ({frozenset({1, 2}): 1, (1, (2,)): 2, None: 3, 1.5: 4, True: 5},)),
    ("all bytes", bytes_all, (bytes(range(256)),)),
    ("formats", formatted, (3.14159,)),
    ("unicode forms", unicode_, ("e\u0301\U0001f1e9",)),
    ("3 MB of bytes", bytes_big, ()),
    ("long text", text_big, ("ä" * 1_000_000,)),
    ("empty values", empty, ()),
    ("tuple key", tuple_key, (("a", 1),)),
    ("bools and ints", bool_int, ({True: 1, 0: False},)),
    ("exception as argument", exceptions_as_values, (KeyError("k", 1),)),
    ("bound methods as arguments", bound, ("abc".__add__, [1, 2, 3].index, "x".upper)),
    ("str.join", string_methods, ("-".join,)),
    ("namedtuple of the library", lambda u: (u.netloc, u._replace(path="/q").geturl()), (urllib.parse.urlsplit("http://h/p?q"),)),
    ("memoryview inside", lambda b: memory(memoryview(b)), (b"abc",)),
    ("context variable set outside", context, ()),
    ("array back", lambda: array.array("q", [1, -1]), ()),
    ("namespace back", lambda: types.SimpleNamespace(a=1), ()),
    ("ChainMap back", lambda: collections.ChainMap({"a": 1}, {"b": 2}), ()),
    ("Random back", lambda: random.Random(4).random(), ()),
    ("types back", lambda: [set, complex, decimal.Decimal, frozenset, bytearray, datetime.date, collections.deque], ()),
    ("pattern back", lambda: re.compile("a+", re.I), ()),
    ("zone back", lambda: datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), ()),
    ("IPv4Interface back", lambda: ipaddress.ip_interface("10.0.0.1/8"), ()),
    ("struct_time back", lambda: time.gmtime(0), ()),
    ("SplitResult back", lambda: urllib.parse.urlsplit("http://h/p"), ()),
    ("range, slice, memory back", lambda: [range(3), bytearray(b"x"), frozenset({1})], ()),
    ("defaultdict of int back", lambda: collections.defaultdict(int, a=1), ()),
    ("function of a module back", lambda: [math.sqrt, len, json.dumps], ()),
    ("partial back", lambda: functools.partial(int, base=2)("11"), ()),
    ("exception in a list back", lambda: [ValueError("a"), KeyError("b")], ()),
    ("method descriptors back", lambda: [str.upper, dict.get][0]("a"), ()),
    ("date types back", lambda: [datetime.date(2020, 1, 1), datetime.timedelta(1), datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=1))], ()),
    ("HTTPStatus back", lambda: __import__("http").HTTPStatus(404), ()),
    ("re flags back", lambda: re.I | re.M, ()),
    ("Decimal tuple back", lambda: decimal.Decimal("1.5").as_tuple(), ()),
    ("tuple subclass of time back", lambda: datetime.date(2020, 1, 1).isocalendar()[0], ()),
    ("set of frozensets back", lambda: {frozenset({1}), frozenset()}, ()),
    ("traceback text", lambda: traceback.format_exception_only(ValueError, ValueError("x")), ()),
]
if sys.version_info >= (3, 11):
    CASES.append(("generic aliases back", generic_types, ()))
