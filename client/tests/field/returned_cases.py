"""What functions raise and return at the edges, as values too."""

import asyncio
import contextlib
import copy
import dataclasses
import logging
import sys
import traceback
import warnings


class Timeout(TimeoutError):
    pass


class HasLogger(Exception):
    def __init__(self):
        super().__init__("logger")
        self.logger = logging.getLogger("x")
        self.kept = {1: [2]}


def broken_pipe():
    raise BrokenPipeError()


def timeout():
    raise Timeout("mine")


def futures_timeout():
    import concurrent.futures

    raise concurrent.futures.TimeoutError()


def broken_pool():
    from concurrent.futures.process import BrokenProcessPool

    raise BrokenProcessPool("broken")


def has_logger():
    raise HasLogger()


def class_only():
    raise AppError.__mro__[1]


def with_none():
    raise ValueError(None)


def with_bytes():
    raise ValueError(b"\xff", bytearray(b"x"))


def with_nested():
    raise ValueError({"a": [1, (2, {3})]}, Holder)


def long_text():
    raise ValueError("x" * 100_000)


def nul():
    raise ValueError("a\0b\x1b[31m\u202e")


def traceback_of():
    try:
        1 / 0
    except ZeroDivisionError:
        return traceback.format_exc().splitlines()[-1]


def as_value(kind):
    return {"e": ValueError("v", 1), "b": KeyboardInterrupt(), "c": AppError("m", status=1)}[kind]


def caught_value():
    try:
        raise AppError("kept", status=7)
    except AppError as error:
        return error


def none():
    return


def ellipsis():
    return ..., NotImplemented


def returns_type():
    return Holder


def returns_instance_of_type():
    return [Holder, Holder(1).__class__]


def returns_lambda():
    return (lambda x: x + 1)(1)


def returns_iter():
    return iter([1, 2])


def warns():
    warnings.warn("careful")
    return 1


def raises_in_generator():
    def g():
        yield 1
        raise LookupError("inside")

    return list(g())


def stop_in_generator():
    def g():
        yield next(iter([]))

    return list(g())


def compare_error(error):
    return isinstance(error, AppError), error.status, str(error), copy.copy(error).args


def raise_argument(error):
    raise error


def with_suppress():
    with contextlib.suppress(AppError):
        raise SubError("x")
    return "suppressed"


def except_by_class():
    try:
        sub()
    except SubError as error:
        return error.code, error.status, error.extra


def nested_call_error():
    def inner():
        raise AppError("inner", status=9)

    inner()


async def async_raises():
    await asyncio.sleep(0)
    raise AppError("async", status=1)


async def async_gather():
    return await asyncio.gather(async_raises(), return_exceptions=True)


CASES = [
    ("BrokenPipeError", broken_pipe, ()),
    ("TimeoutError of the script", timeout, ()),
    ("futures.TimeoutError", futures_timeout, ()),
    ("BrokenProcessPool", broken_pool, ()),
    ("logger in an exception", has_logger, ()),
    ("a class raised", class_only, ()),
    ("ValueError(None)", with_none, ()),
    ("bytes in args", with_bytes, ()),
    ("nested args", with_nested, ()),
    ("long text", long_text, ()),
    ("control characters", nul, ()),
    ("traceback as text", traceback_of, ()),
    ("exception as value", as_value, ("e",)),
    ("KeyboardInterrupt as value", as_value, ("b",)),
    ("own exception as value", as_value, ("c",)),
    ("caught exception as value", caught_value, ()),
    ("None", none, ()),
    ("Ellipsis and NotImplemented", ellipsis, ()),
    ("class returned", returns_type, ()),
    ("classes returned", returns_instance_of_type, ()),
    ("lambda called", returns_lambda, ()),
    ("list iterator", lambda: list(returns_iter()), ()),
    ("warns", warns, ()),
    ("error in a generator", raises_in_generator, ()),
    ("StopIteration in a generator", stop_in_generator, ()),
    ("own exception as argument", compare_error, (AppError("a", status=2),)),
    ("argument raised", raise_argument, (AppError("a", status=2),)),
    ("suppressed by class", with_suppress, ()),
    ("caught by class", except_by_class, ()),
    ("raised two levels down", nested_call_error, ()),
    ("raised in a coroutine", async_raises, ()),
    ("gathered exceptions", async_gather, ()),
]
if sys.version_info >= (3, 11):
    exec('''
def group():
    raise ExceptionGroup("g", [AppError("a", status=1), ExceptionGroup("inner", [KeyError("k"), DataError("p")])])
def base_group():
    raise BaseExceptionGroup("b", [KeyboardInterrupt(), ValueError(1)])
def split():
    try:
        group()
    except* AppError as caught:
        return_value = [str(e) for e in caught.exceptions]
    except* KeyError:
        pass
    except* DataError:
        pass
    return return_value
async def task_group():
    async with asyncio.TaskGroup() as tasks:
        t = tasks.create_task(asyncio.sleep(0, 4))
    return t.result()
async def failing_group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(async_raises())
''')
    CASES += [("group", group, ()), ("base group", base_group, ()), ("except*", split, ()), ("task group", task_group, ()), ("failing task group", failing_group, ())]
