"""Exceptions of a script, of every kind."""

import enum
import threading


class QuotaError(Exception):
    def __init__(self, user, limit):
        super().__init__(f"{user} is over {limit}")
        self.user, self.limit = user, limit


class Plain(ValueError):
    pass


class Keyword(RuntimeError):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


class NoSuper(Exception):
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __str__(self):
        return f"{self.a}-{self.b}"


class Disk(OSError):
    def __init__(self, path):
        super().__init__(28, "disk full", path)
        self.path = path


class Code(enum.Enum):
    BAD = 1


class WithEnum(Exception):
    def __init__(self, code):
        super().__init__("with an enum")
        self.code = code


class Locked(Exception):
    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()
        self.kept = 1


class Reduced(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)

    def __reduce__(self):
        return Reduced, self.args


def quota():
    raise QuotaError("ann", 5)


def plain():
    raise Plain("plain", 3)


def keyword():
    raise Keyword(code=7)


def no_super():
    raise NoSuper(1, 2)


def disk():
    raise Disk("/x")


def with_enum():
    raise WithEnum(Code.BAD)


def locked():
    raise Locked()


def reduced():
    raise Reduced(1, 2)


def cause():
    try:
        raise KeyError("k")
    except KeyError as error:
        raise Plain("from") from error


def context():
    try:
        {}["k"]
    except KeyError:
        raise QuotaError("bob", 1)


def suppressed():
    try:
        {}["k"]
    except KeyError:
        raise Plain("alone") from None


def surrogate():
    raise ValueError("odd \udcff")


def own_note():
    error = ValueError("noted")
    error.__notes__ = ["a note"]
    raise error


def with_traceback():
    try:
        1 / 0
    except ZeroDivisionError as caught:
        error = Plain("holds a traceback")
        error.trace = caught.__traceback__
        error.__cause__ = caught
        raise error


def generator_arg():
    raise ValueError((n for n in []), "rest")


def key():
    return {}["missing"]


def attribute():
    return object().nothing


def name():
    return undefined_name  # noqa: F821


def unicode():
    return b"\xff".decode("utf-8")


def zero():
    return 1 // 0


def exit_():
    raise SystemExit(3)


def interrupt():
    raise KeyboardInterrupt


def stop():
    raise StopIteration(4)


def assertion():
    assert 1 == 2, "no"


def index():
    return [][1]


def os_error():
    raise FileNotFoundError(2, "No such file", "/nope")


def json_error():
    import json

    return json.loads("{")


def decimal_error():
    import decimal

    return decimal.Decimal(1) / 0


def empty():
    raise ValueError


def multiline():
    raise Plain("one\ntwo")


def local_class():
    class Local(Exception):
        pass

    raise Local("local")


def group():
    raise ExceptionGroup("several", [ValueError(1), Plain("in")])  # noqa: F821


CASES = [
    ("other signature", quota, ()),
    ("plain subclass", plain, ()),
    ("keyword only", keyword, ()),
    ("without super", no_super, ()),
    ("OSError subclass", disk, ()),
    ("enum attribute", with_enum, ()),
    ("lock attribute", locked, ()),
    ("custom __reduce__", reduced, ()),
    ("cause", cause, ()),
    ("context", context, ()),
    ("suppressed context", suppressed, ()),
    ("surrogate", surrogate, ()),
    ("own note", own_note, ()),
    ("traceback attribute", with_traceback, ()),
    ("generator in args", generator_arg, ()),
    ("key", key, ()),
    ("attribute", attribute, ()),
    ("name", name, ()),
    ("unicode", unicode, ()),
    ("zero", zero, ()),
    ("exit", exit_, ()),
    ("interrupt", interrupt, ()),
    ("stop iteration", stop, ()),
    ("assertion", assertion, ()),
    ("index", index, ()),
    ("OSError with a file", os_error, ()),
    ("json", json_error, ()),
    ("decimal", decimal_error, ()),
    ("empty", empty, ()),
    ("multiline", multiline, ()),
]
if __import__("sys").version_info >= (3, 11):
    CASES.append(("group", group, ()))
