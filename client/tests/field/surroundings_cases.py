"""What a function sees around itself, and what it does there."""

import asyncio
import contextvars
import dataclasses
import functools
import gc
import inspect
import io
import logging
import os
import random
import signal
import sys
import threading
import time
import types
import warnings
import weakref

VERSION = "1"
STATE = {"n": 0}
VARIABLE = contextvars.ContextVar("variable")


def named(a: int, b: "str" = "x", *args, key=None, **more) -> "list[int]":
    """Documented.

    In two paragraphs."""
    return named.__name__, named.__qualname__, named.__module__, named.__doc__, str(inspect.signature(named)), named.__annotations__


def one():
    return 1


def two():
    return 2


SHARED = []
for _n in range(3):
    SHARED.append(lambda: _n)


def generator(n):
    received = []
    for i in range(n):
        got = yield i
        received.append(got)
    return received


async def async_error():
    raise LookupError("async")


async def async_cancel():
    async def sleeper():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "cancelled"

    task = asyncio.create_task(sleeper())
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def async_vars():
    VARIABLE.set("a")

    async def inner():
        VARIABLE.set("b")
        return VARIABLE.get()

    return await asyncio.create_task(inner()), VARIABLE.get()


async def async_plain(x):
    await asyncio.sleep(0.001)
    return x * 2


def context_copy():
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "inner")
    return context[VARIABLE], VARIABLE.get("none")


def environment():
    os.environ["FIELD"] = "set"
    return os.environ["FIELD"], os.getenv("FIELD"), os.environ.get("NO_SUCH")


def working_folder():
    return os.path.isabs(os.getcwd())


def collects():
    class Loop:
        pass

    loop = Loop()
    loop.me = loop
    ref = weakref.ref(loop)
    del loop
    gc.collect()
    return ref() is None, gc.isenabled()


def finalizers():
    log = []

    class Thing:
        def __del__(self):
            log.append("del")

    thing = Thing()
    weakref.finalize(thing, log.append, "final")
    del thing
    gc.collect()
    return sorted(log)


def logs():
    logger = logging.getLogger("field.calls")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel("INFO")
    logger.info("hello %s", "you")
    logger.debug("never")
    return stream.getvalue()


def stack():
    return inspect.stack()[0].function, sys._getframe().f_code.co_name, inspect.currentframe().f_lineno > 0


def members():
    return inspect.isfunction(one), inspect.iscoroutinefunction(async_plain), inspect.isgeneratorfunction(generator), inspect.getdoc(named)


def recursion(n):
    return n if n == 0 else recursion(n - 1)


def too_deep():
    try:
        recursion(10**6)
    except RecursionError as error:
        return "recursion" in str(error)


def limit():
    return sys.getrecursionlimit() >= 1000, sys.byteorder, sys.maxsize > 2**30


def imports_inside():
    import collections.abc as abc
    import os.path
    from xml.etree import ElementTree

    return abc.Mapping.__name__, os.path.basename("/a/b"), ElementTree.fromstring("<a b='1'/>").get("b")


def star_import():
    namespace = {}
    exec("from math import *", namespace)
    return namespace["floor"](2.5)


def tries():
    log = []
    for i in range(3):
        try:
            if i == 0:
                continue
            if i == 1:
                raise ValueError
            break
        except ValueError:
            log.append("except")
        else:
            log.append("else")
        finally:
            log.append("finally")
    return log


def raise_in_finally():
    try:
        try:
            raise KeyError("a")
        finally:
            raise ValueError("b")
    except ValueError as error:
        return type(error.__context__).__name__


def unpacking():
    first, *rest, last = range(5)
    return first, rest, last, [*"ab", *range(2)], {**{"a": 1}, "b": 2}


def chained():
    return 1 < 2 < 3, not 1 == 2, (a := 5), a


def conditional_global(flag):
    if flag:
        import json as helper
    else:
        helper = None
    return helper.__name__


def deletes_global():
    global VERSION
    del VERSION
    return "VERSION" in globals()


def declares_global():
    global brand_new
    brand_new = 5
    return brand_new, globals()["brand_new"]


def class_in_function():
    @dataclasses.dataclass
    class Local:
        x: int

        def twice(self):
            return self.x * 2

    return Local(2).twice(), Local(1) == Local(1), repr(Local(3))


def property_of_builtin():
    return (5).real, "a".__class__.__name__, [].append.__name__, type.__call__(int, "3")


def sorts():
    return sorted(["b", "A"], key=str.lower), sorted([3, 1], reverse=True), [*reversed([1, 2])]


def sleeps():
    start = time.monotonic()
    time.sleep(0.01)
    return time.monotonic() - start >= 0.009


def types_made():
    made = types.new_class("Made", (), {}, lambda ns: ns.update(x=1))
    return made.x, types.FunctionType(one.__code__, {})(), types.MethodType(lambda self: self, 4)()


def code_of(function):
    return function.__code__.co_argcount, function(1)


def frozen_global():
    return FROZEN()


FROZEN = functools.partial(lambda x: x + 1, 4)
COMPOSED = functools.reduce(lambda f, g: lambda x: g(f(x)), [lambda x: x + 1, lambda x: x * 2])
BOUND = STATE.get


def composed(x):
    return COMPOSED(x), BOUND("missing", "default")


def seeds():
    return random.random() != random.random()


def handlers():
    return signal.getsignal(signal.SIGINT) is not None, threading.current_thread() is threading.main_thread()


def warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            warnings.warn("x")
        except UserWarning as error:
            return str(error)


def bytes_io():
    import gzip
    import zlib

    return zlib.decompress(zlib.compress(b"a" * 100)), gzip.decompress(gzip.compress(b"b"))


def zipped_file():
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "hi")
    return zipfile.ZipFile(buffer).read("a.txt")


def csvs():
    import csv

    out = io.StringIO()
    csv.writer(out).writerow(["a", 'b"c', 1])
    return out.getvalue(), [*csv.DictReader(io.StringIO("x,y\n1,2"))]


def source():
    try:
        return "def source" in inspect.getsource(source)
    except OSError as error:
        return True if "source" in str(error) else str(error)


def pickles_itself():
    import pickle

    try:
        return pickle.loads(pickle.dumps(one))()
    except Exception as error:
        return type(error).__name__


CASES = [
    ("async error", async_error, ()),
    ("async cancel", async_cancel, ()),
    ("async context variables", async_vars, ()),
    ("context copied", context_copy, ()),
    ("environment", environment, ()),
    ("working folder", working_folder, ()),
    ("gc", collects, ()),
    ("finalizers", finalizers, ()),
    ("logging", logs, ()),
    ("stack", stack, ()),
    ("inspect", members, ()),
    ("deep recursion", recursion, (500,)),
    ("too deep", too_deep, ()),
    ("limits", limit, ()),
    ("imports inside", imports_inside, ()),
    ("star import", star_import, ()),
    ("try, else, finally", tries, ()),
    ("raise in finally", raise_in_finally, ()),
    ("unpacking", unpacking, ()),
    ("chained", chained, ()),
    ("import under a condition", conditional_global, (True,)),
    ("deletes a global", deletes_global, ()),
    ("global statement", declares_global, ()),
    ("dataclass inside", class_in_function, ()),
    ("attributes of builtins", property_of_builtin, ()),
    ("sorting", sorts, ()),
    ("sleep", sleeps, ()),
    ("types module", types_made, ()),
    ("lambda's code", code_of, (lambda x: x + 1,)),
    ("partial of a lambda", frozen_global, ()),
    ("composed lambdas", composed, (3,)),
    ("random is seeded", seeds, ()),
    ("signals", handlers, ()),
    ("warnings as errors", warns, ()),
    ("compression", bytes_io, ()),
    ("zip file in memory", zipped_file, ()),
    ("csv", csvs, ()),
    ("source", source, ()),
    ("pickles a function of the script", pickles_itself, ()),
]
