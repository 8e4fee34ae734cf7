"""What a function sees of itself, and functions of every make."""

import asyncio
import contextlib
import functools
import inspect
import io
import os
import sys
import typing

VERSION = "1"
STATE = {"n": 0}
CALLBACKS = []
_cache = {}


def named(a: int, b: "str" = "x", *args, key=None, **more) -> "list[int]":
    """Documented.

    In two paragraphs."""
    return named.__name__, named.__qualname__, named.__module__, named.__doc__, str(inspect.signature(named)), named.__annotations__


def own_code():
    return own_code.__code__.co_name, own_code.__code__.co_varnames, own_code.__defaults__, own_code.__closure__


def seen_globals():
    return VERSION, "VERSION" in globals(), __name__, globals()["__name__"], "seen_globals" in globals()


def is_main():
    if __name__ == "__main__":
        return "main"
    return "other"


def by_name():
    return sorted(n for n in ("one", "two") if callable(globals().get(n))), one() + two()


def one():
    return 1


def two():
    return 2


def evaluates():
    return eval("one() + 1"), eval("x * 2", {"x": 4})


def executes():
    namespace = {}
    exec("def f(n):\n    return n + 1", namespace)
    return namespace["f"](1)


def own_locals(a, b=2):
    c = 3
    return sorted(locals().items())


def annotated() -> None:
    return typing.get_type_hints(annotated)


def closures():
    return [f() for f in [lambda: i for i in range(3)]], [f() for f in [lambda i=i: i for i in range(3)]]


LATE = [lambda: i for i in range(3)]
EARLY = [lambda i=i: i for i in range(3)]
SHARED = []
for _n in range(3):
    SHARED.append(lambda: _n)


def closures_outside(fs):
    return [f() for f in fs], [f() for f in LATE], [f() for f in EARLY], [f() for f in SHARED]


def make_account():
    balance = 10

    def deposit(n):
        nonlocal balance
        balance += n
        return balance

    def get():
        return balance

    return deposit, get


DEPOSIT, GET = make_account()


def shared_cell():
    DEPOSIT(5)
    return GET()


def shared_cell_args(deposit, get):
    deposit(7)
    return get()


def recursive_locals(n):
    def even(k):
        return k == 0 or odd(k - 1)

    def odd(k):
        return k != 0 and even(k - 1)

    return even(n)


def y_combinator(n):
    return (lambda f: f(f, n))(lambda self, k: 1 if k < 2 else k * self(self, k - 1))


def mutable_default(x, acc=[]):
    acc.append(x)
    return list(acc), mutable_default.__defaults__[0] is acc


def keyword_default(*, acc={}):
    acc["n"] = acc.get("n", 0) + 1
    return acc


def named_self(self, fn, executor, function, args, kwargs):
    return self, fn, executor, function, args, kwargs


def positional_only(a, b=2, /, c=3, *, d=4):
    return a, b, c, d


def hex(items):  # noqa: A001
    return "own hex", items


def uses_own_list():
    return hex([1])


def sum_(values):
    return builtin_sum(values)


builtin_sum = sum
oct = min  # noqa: A001


def uses_max():
    return oct(1, 2), len([1])


def shadowed():
    str = int
    return str("4")


def counts():
    counts.calls = getattr(counts, "calls", 0) + 1
    return counts.calls


def remember(function):
    calls = []

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs), len(calls)

    wrapper.calls = calls
    return wrapper


@remember
def remembered(x):
    return x


@remember
def remembered_itself(x):
    return x


def uses_remembered():
    remembered(1)
    return remembered(2), remembered.__wrapped__(3), remembered.__name__, len(remembered.calls)


class Retry:
    def __init__(self, times):
        self.times = times

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args):
            for at in range(self.times):
                try:
                    return function(*args), at
                except ValueError:
                    continue
            raise RuntimeError("gave up")

        return wrapper


@Retry(3)
def flaky():
    STATE["n"] += 1
    if STATE["n"] < 3:
        raise ValueError("again")
    return "ok"


class CountCalls:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.n = function, 0

    def __call__(self, *args):
        self.n += 1
        return self.function(*args), self.n


@CountCalls
def counted(x):
    return x


@CountCalls
def counted_itself(x):
    return x


def uses_counted():
    return counted(1), counted(2), counted.__name__


@functools.lru_cache
def slow(n):
    CALLBACKS.append(n)
    return n


def uses_slow():
    return slow(1), slow(1), len(CALLBACKS), slow.cache_info().hits


@functools.cache
def forever(n):
    return 1 if n < 2 else n * forever(n - 1)


def plugins():
    return sorted(_cache), _cache["a"](), _cache["b"]()


@contextlib.contextmanager
def temporary(name, value):
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield os.environ[name]
    finally:
        if before is None:
            del os.environ[name]


class Manager:
    def __enter__(self):
        self.log = ["in"]
        return self

    def __exit__(self, kind, value, trace):
        self.log.append(kind.__name__ if kind else None)
        return True


def managers():
    with temporary("BJ", "1") as value, Manager() as m:
        raise KeyError("x")
    return value, m.log, "BJ" in os.environ


def exit_stack():
    log = []
    with contextlib.ExitStack() as stack:
        stack.callback(log.append, 1)
        stack.enter_context(contextlib.suppress(ValueError))
        raise ValueError
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print("inside")
    return log, out.getvalue()


def generator(n):
    received = []
    for i in range(n):
        got = yield i
        received.append(got)
    return received


def drives():
    g = generator(2)
    first = next(g)
    second = g.send("x")
    try:
        g.send("y")
    except StopIteration as stop:
        return first, second, stop.value


def delegates():
    def outer():
        result = yield from generator(1)
        yield result

    return [*outer()]


def closes():
    log = []

    def g():
        try:
            yield 1
        except GeneratorExit:
            log.append("exit")
            raise
        finally:
            log.append("finally")

    it = g()
    next(it)
    it.close()
    return log


async def agen(n):
    for i in range(n):
        yield i
        await asyncio.sleep(0)


async def async_all():
    async with asyncio.Lock():
        items = [i async for i in agen(3)]
    queue = asyncio.Queue()

    async def producer():
        for i in range(2):
            await queue.put(i)

    task = asyncio.create_task(producer())
    got = [await queue.get(), await queue.get()]
    await task
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.01)
    except asyncio.TimeoutError:
        got.append("late")
    return items, got


def stack():
    return inspect.stack()[0].function, sys._getframe().f_code.co_name, inspect.currentframe().f_lineno > 0


CASES = [
    ("names and signature", named, (1,)),
    ("own code", own_code, ()),
    ("globals", seen_globals, ()),
    ("if __name__", is_main, ()),
    ("global by name of a constant", by_name, ()),
    ("name in a text", evaluates, ()),
    ("exec", executes, ()),
    ("locals", own_locals, (1,)),
    ("own type hints", annotated, ()),
    ("closures over loops", closures, ()),
    ("closures over loops outside", closures_outside, ([lambda: 1],)),
    ("shared cell", shared_cell, ()),
    ("shared cell of arguments", shared_cell_args, make_account()),
    ("recursive locals", recursive_locals, (4,)),
    ("y combinator", y_combinator, (5,)),
    ("mutable default", mutable_default, (1,)),
    ("keyword default", keyword_default, ()),
    ("arguments named self, fn, args", named_self, (1, 2, 3, 4, 5, 6)),
    ("positional only", positional_only, (1,)),
    ("named like a builtin", hex, ([1],)),
    ("calls one named like a builtin", uses_own_list, ()),
    ("a builtin under another name", sum_, ([1, 2],)),
    ("a builtin replaced", uses_max, ()),
    ("a builtin shadowed", shadowed, ()),
    ("sets an attribute of itself", counts, ()),
    ("decorator with state", uses_remembered, ()),
    ("decorated with state itself", remembered_itself, (5,)),
    ("class decorator with arguments", flaky, ()),
    ("instance as decorator", uses_counted, ()),
    ("instance as decorator itself", counted_itself, (4,)),
    ("cache around globals", uses_slow, ()),
    ("functools.cache", forever, (10,)),
    ("registering decorator", plugins, ()),
    ("context managers", managers, ()),
    ("exit stack", exit_stack, ()),
    ("generator driven", drives, ()),
    ("yield from", delegates, ()),
    ("generator closed", closes, ()),
    ("async everything", async_all, ()),
]
