"""What functions raise at the edges."""

import asyncio
import dataclasses
import enum
import json
import math
import os
import re
import subprocess
import sys


class Multi(KeyError, AttributeError):
    pass


class Slotted(Exception):
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a


class WithProperty(Exception):
    @property
    def hint(self):
        return "use " + self.args[0]


class NewArgs(Exception):
    def __new__(cls, a, b):
        made = super().__new__(cls, a, b)
        made.made = True
        return made

    def __init__(self, a, b):
        super().__init__(f"{a}/{b}")
        self.a = a


class Status(enum.Enum):
    BAD = "bad"


class WithObjects(Exception):
    def __init__(self, holder, status):
        super().__init__(holder, status)
        self.holder, self.status = holder, status


class StatefulError(Exception):
    def __init__(self, a):
        super().__init__(a)
        self.a, self.log = a, []

    def __getstate__(self):
        return {"a": self.a, "log": ["state"]}

    def __setstate__(self, state):
        self.__dict__.update(state)


def app():
    raise AppError("broken", status=3, where="here")


def multi():
    raise Multi("k")


def slotted():
    raise Slotted(4)


def with_property():
    raise WithProperty("that")


def new_args():
    raise NewArgs(1, 2)


def data_error():
    raise DataError("a.py", 3)


def with_objects():
    raise WithObjects(Holder(1), Status.BAD)


def stateful():
    raise StatefulError(1)


def generator_exit():
    raise GeneratorExit("g")


def cancelled():
    raise asyncio.CancelledError("c")


def stop_async():
    raise StopAsyncIteration(1)


def exits(value):
    sys.exit(value)


def chain():
    try:
        try:
            raise KeyError("first")
        except KeyError as one:
            raise AppError("second", status=2) from one
    except AppError as two:
        raise ValueError("third") from two


def long_chain():
    error = None
    for n in range(20):
        new = ValueError(n)
        new.__cause__ = error
        error = new
    raise error


def self_cause():
    error = ValueError("me")
    error.me = error
    raise error


def handled_context():
    try:
        os.stat("/no/such/file/at/all")
    except OSError:
        pass
    raise ValueError("later")


def reraised():
    try:
        raise ValueError("again")
    except ValueError as error:
        error.args += ("more",)
        raise


def subprocess_error():
    raise subprocess.CalledProcessError(3, ["ls", "-l"], b"out", b"err")


def json_error():
    json.loads('{"a": }')


def key_types():
    raise KeyError(("a", 1), None)


def unicode_encode():
    "ü".encode("ascii")


def import_error():
    raise ImportError("no", name="n", path="p")


def module_missing():
    import no_such_module_at_all  # noqa: F401


def syntax():
    compile("a b", "<f>", "exec")


def attribute():
    return Holder(1).nothing


def unbound():
    if False:
        x = 1
    return x


def type_error():
    return len(3)


def wrong_arguments(a):
    return a


def float_zero():
    return math.sqrt(-1)


def overflow():
    return math.exp(1000)


def index_slice():
    return "abc"[5]


def assertion(a, b):
    assert a == b, {"left": a, "right": b}


def not_implemented():
    raise NotImplementedError


def regex():
    re.compile("(")


def warning_raised():
    raise DeprecationWarning("old")


def interrupted():
    raise InterruptedError(4, "Interrupted")


def connection():
    raise ConnectionRefusedError(111, "refused")


CASES = [
    ("keyword only with details", app, ()),
    ("subclass with an attribute", sub, ()),
    ("two builtin bases", multi, ()),
    ("slots in an exception", slotted, ()),
    ("property of an exception", with_property, ()),
    ("__new__ of an exception", new_args, ()),
    ("dataclass exception", data_error, ()),
    ("objects in an exception", with_objects, ()),
    ("state of an exception", stateful, ()),
    ("base exception", base, ()),
    ("GeneratorExit", generator_exit, ()),
    ("CancelledError", cancelled, ()),
    ("StopAsyncIteration", stop_async, ()),
    ("sys.exit()", exits, (None,)),
    ("sys.exit(0)", exits, (0,)),
    ("sys.exit(text)", exits, ("text",)),
    ("chain of three", chain, ()),
    ("chain of twenty", long_chain, ()),
    ("holds itself", self_cause, ()),
    ("handled before", handled_context, ()),
    ("args changed", reraised, ()),
    ("CalledProcessError", subprocess_error, ()),
    ("JSONDecodeError", json_error, ()),
    ("KeyError of a tuple", key_types, ()),
    ("UnicodeEncodeError", unicode_encode, ()),
    ("ImportError with fields", import_error, ()),
    ("ModuleNotFoundError", module_missing, ()),
    ("SyntaxError", syntax, ()),
    ("AttributeError", attribute, ()),
    ("UnboundLocalError", unbound, ()),
    ("TypeError", type_error, ()),
    ("wrong arguments", wrong_arguments, ()),
    ("too many arguments", wrong_arguments, (1, 2)),
    ("math domain", float_zero, ()),
    ("OverflowError", overflow, ()),
    ("IndexError", index_slice, ()),
    ("assertion with values", assertion, (1, 2)),
    ("NotImplementedError", not_implemented, ()),
    ("re.error", regex, ()),
    ("warning raised", warning_raised, ()),
    ("InterruptedError", interrupted, ()),
    ("ConnectionRefusedError", connection, ()),
]
