"""What a sandboxed call returns is read as data: nothing that came back runs here, and each refusal is named."""

import collections
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import pickle
import resource
import signal
import struct
import sys
import time
import unittest
import uuid
from base64 import b64encode
from dataclasses import dataclass
from unittest import mock

import belljar
from belljar import _scan
from belljar._graph import Graph
from belljar._reading import Reader
from belljar._scan import UnsafePickle, scan

RAN = []


class Calls:
    """Pickles as a call of something."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


def ran(*args):
    RAN.append(args)


class Command:
    """A class of the program, with code that must not be called with what comes back."""

    def __init__(self, line=""):
        ran("init", line)

    def __setstate__(self, state):
        ran("setstate", state)

    def __reduce__(self):
        return Command, ("line",)


class Guarded:
    def __init__(self, n):
        self.n = n

    def __setattr__(self, name, value):
        if name == "bad":
            ran("setattr", value)
        object.__setattr__(self, name, value)


class Colour(enum.Enum):
    RED = 1

    @classmethod
    def _missing_(cls, value):
        ran("missing", value)
        return cls.RED


@dataclass
class Point:
    x: int


class Hooked(dict):
    def __setitem__(self, key, value):
        ran("setitem", key)
        super().__setitem__(key, value)


for _cls in (Command, Guarded, Colour, Point, Hooked):
    _cls.__module__ = "__main__"


def text(pickled):
    return b64encode(pickled).decode()


def dumped(value):
    return text(pickle.dumps(value, 4))


def sent(*classes):
    """What a call has sent that brought these classes, and by which id each travelled."""
    graph = Graph(len, classes)
    return graph, {cls: graph.tracker_id(cls) for cls in classes}


def built(opcodes):
    return b"\x80\x04" + opcodes + b"."


def short(word):
    word = word.encode() if isinstance(word, str) else word
    return b"\x8c" + bytes([len(word)]) + word


def known(tracker_id):
    return short("runner_pickles") + short("known_class") + b"\x93" + short(tracker_id) + b"\x85R"


def named(module, name):
    return short(module) + short(name) + b"\x93"


HOSTILE = {
    "os.system": dumped(Calls(os.system, "true")),
    "eval": dumped(Calls(eval, "RAN.append(1)")),
    "getattr": text(built(named("builtins", "getattr") + named("posix", "system") + short("x") + b"\x86R")),
    "exec": text(built(named("builtins", "exec") + short("1") + b"\x85R")),
    "subprocess": text(built(named("subprocess", "Popen") + short("true") + b"\x85R")),
    "a function of the program": text(built(named(__name__, "ran") + b")R")),
    "a class of the program that was not sent": text(built(named(__name__, "Command") + b")\x81")),
    "import": text(built(named("builtins", "__import__") + short("os") + b"\x85R")),
    "importing a module by naming it": text(built(named("antigravity", "x"))),
    "a class by value": text(built(named("cloudpickle.cloudpickle", "_make_skeleton_class") + b")R")),
    "dill": text(built(named("dill._dill", "_create_function") + b")R")),
    "operator": text(built(named("_operator", "attrgetter") + short("__class__") + b"\x85R")),
    "functools.partial": text(built(named("functools", "partial") + named("os", "system") + b"\x85R")),
    "a nested name": text(built(named("datetime", "datetime.__class__") + b")R")),
    "state for a class": text(built(named("builtins", "int") + b"}b")),
    "a path through io": text(built(named("io", "open") + short("/etc/passwd") + b"\x85R")),
    "defaultdict of eval": text(built(named("collections", "defaultdict") + named("builtins", "eval") + b"\x85R")),
    "an extension": text(built(b"\x82\x01")),
    "a persistent id": text(built(short("x") + b"Q")),
    "instance of old": text(b"(ios\nsystem\n."),
    "known class that was not sent": text(built(known("0" * 32))),
    "a huge bytearray": text(built(named("builtins", "bytearray") + b"\x8a\x05\xff\xff\xff\xff\x02\x85R")),
    "a function by value": text(
        built(named("cloudpickle.cloudpickle", "_builtin_type") + short("FunctionType") + b"\x85R" + b")R")
    ),
    "a module of types": text(built(named("cloudpickle.cloudpickle", "_builtin_type") + short("sys") + b"\x85R")),
    "a pattern that prints": text(built(named("re", "_compile") + short("a") + b"K\x80\x86R")),
    "a view of a number": text(built(named("cloudpickle.cloudpickle", "_make_dict_keys") + b"K\x01\x85R")),
    "an or of numbers": text(built(named("_operator", "or_") + b"K\x01K\x02\x86R")),
    "a type of a class": text(built(named("builtins", "type") + short("A") + b")}\x87R")),
    "a fraction bomb": text(built(named("fractions", "Fraction") + short("1e999999999") + b"\x85R")),
}


class Refuses(unittest.TestCase):
    def setUp(self):
        RAN.clear()

    def test_hostile_values_run_nothing_and_are_named(self):
        for name, value in HOSTILE.items():
            with self.subTest(name):
                with self.assertRaises(belljar.UntrustedResult) as caught:
                    Reader("safe").read(value)
                self.assertIn("cannot be read safely", str(caught.exception))
                self.assertIn('results="trusted"', str(caught.exception))
        self.assertEqual(RAN, [])
        self.assertNotIn("antigravity", sys.modules)
        with self.assertRaisesRegex(belljar.UntrustedResult, "`posix.system`"):
            Reader("safe").read(HOSTILE["os.system"])

    def test_hostile_exceptions_run_nothing_and_are_remote_errors(self):
        for name, value in HOSTILE.items():
            with self.subTest(name):
                error = Reader("safe").read_exception(value)
                self.assertIsInstance(error, belljar.RemoteError)
                self.assertTrue(str(error))
        self.assertEqual(RAN, [])
        self.assertIn("posix.system", str(Reader("safe").read_exception(HOSTILE["os.system"])))

    def test_an_exception_with_something_hostile_inside_keeps_its_text(self):
        error = ValueError("the text")
        error.evil = Calls(os.system, "true")
        read = Reader("safe").read_exception(dumped(error))
        self.assertEqual(str(read), "the text")
        self.assertIsInstance(read.evil, belljar.RemoteError)

    def test_an_exception_of_an_unknown_class_keeps_its_text_and_notes(self):
        pickled = built(named("somewhere", "QuotaError") + short("ann is over 5") + b"\x85R}" + short("user") + short("ann") + b"sb")
        read = Reader("safe").read_exception(text(pickled))
        self.assertEqual((type(read), str(read), read.user), (belljar.RemoteError, "somewhere.QuotaError: ann is over 5", "ann"))
        trusted = Reader("trusted").read_exception(text(pickled))
        self.assertEqual(str(trusted), "somewhere.QuotaError: ann is over 5", "it cannot be had here either")

    def test_own_classes_are_made_of_their_state_alone(self):
        graph, ids = sent(Command, Guarded, Colour, Point, Hooked)
        reader = Reader("safe", graph=graph)

        def read(opcodes):
            return reader.read(text(built(opcodes)))

        point = read(known(ids[Point]) + b")\x81}" + short("x") + b"K\x05sb")
        self.assertEqual((type(point), point), (Point, Point(5)))
        guarded = read(known(ids[Guarded]) + b")\x81}" + short("bad") + b"K\x05sb")
        self.assertEqual(guarded.bad, 5)
        hooked = read(known(ids[Hooked]) + b")\x81" + short("k") + b"K\x01s")
        self.assertEqual((type(hooked), dict(hooked)), (Hooked, {"k": 1}))
        self.assertIs(read(known(ids[Colour]) + b"K\x01\x85R"), Colour.RED)
        for name, opcodes in {
            "call": known(ids[Command]) + short("rm") + b"\x85R",
            "call without arguments": known(ids[Command]) + b")R",
            "__setstate__": known(ids[Command]) + b")\x81}b",
            "arguments of __new__": known(ids[Point]) + b"K\x01\x85\x81",
            "no member": known(ids[Colour]) + b"K\x07\x85R",
            "state of the class": known(ids[Point]) + b"}b",
        }.items():
            with self.subTest(name), self.assertRaises(belljar.UntrustedResult):
                read(opcodes)
        self.assertEqual(RAN, [])

    def test_classes_that_are_allowed_are_made_as_pickle_does(self):
        graph, ids = sent(Command)
        Reader("safe", (Command,), graph).read(text(built(known(ids[Command]) + short("x") + b"\x85R")))
        self.assertEqual(RAN, [("init", "x")])
        point = Reader("safe", (uuid.UUID,)).read(dumped(uuid.UUID(int=4)))
        self.assertEqual(point, uuid.UUID(int=4))

    def test_trusted_results_are_any_pickle(self):
        self.assertEqual(Reader("trusted").read(dumped(Calls(max, 1, 2))), 2)


class Measures(unittest.TestCase):
    """A pickle that costs far more than its size is refused before it is loaded."""

    def refused(self, pickled, word):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.monotonic()
        with self.assertRaisesRegex(belljar.UntrustedResult, word):
            Reader("safe").read(text(pickled))
        self.assertIsInstance(Reader("safe").read_exception(text(pickled)), belljar.RemoteError)
        self.assertLess(time.monotonic() - start, 20)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 400 << 10)

    def test_claims_beyond_its_size(self):
        self.refused(built(b"K\x01r\xff\xff\xff\x7f"), "claims to have 2147483647 parts")
        self.refused(built(b"\x8e" + struct.pack("<Q", 1 << 40)), "claims a value")
        self.refused(built(b"\x96" + struct.pack("<Q", 1 << 34)), "claims a value")
        self.refused(built(b"X\xff\xff\xff\xff"), "claims a value")

    def test_floods(self):
        with mock.patch.object(_scan, "_ROOM_BYTES", 1 << 20):
            self.refused(built(b"(" + b"\x8f" * 10_000 + b"t"), "far more memory")

    def test_depth(self):
        self.refused(built(b")" + b"\x85" * 100_000), "levels deep")
        self.refused(built(b"]" * 2_000 + b"a" * 1_999), "levels deep")
        self.refused(built(b"]\x94" + b"(h\x00t" * 3 + b")" + b"\x85\x94" * 600), "levels deep|broken")

    def test_broken_ones(self):
        for pickled in (b"", b".", b"\x80\x04", built(b"a"), built(b"e"), built(b"h\x05"), built(b"\x87"), b"junk"):
            with self.subTest(pickled), self.assertRaises((belljar.SerializationError)):
                Reader("safe").read(text(pickled))

    def test_every_protocol_of_plain_data_passes(self):
        value = [1, -1, 2**70, 1.5, "t" * 300, b"b" * 300, (1, (2, [3, {"k": {4}}])), None, True, list(range(5000))]
        for protocol in (3, 4, 5):
            pickled = pickle.dumps(value, protocol)
            self.assertEqual(Reader("safe").read(text(pickled)), value)
        with self.assertRaises(UnsafePickle):
            scan(pickle.dumps("text", 0))


class Reads(unittest.TestCase):
    def test_data(self):
        values = [
            1, "x", b"b", bytearray(b"x"), {1: {2}}, frozenset("ab"), range(3), slice(1, 2), 2j, ..., NotImplemented, int, list,
            datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc), datetime.date(2024, 1, 2), datetime.time(1),
            datetime.timedelta(3), decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7),
            collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 3),
            collections.defaultdict(list, {"a": [1]}), collections.ChainMap({"a": 1}), pathlib.PurePosixPath("a/b"),
            pathlib.Path("/x"), signal.SIGINT, uuid.SafeUUID.safe,
        ]  # fmt: skip
        for value in values:
            with self.subTest(value):
                read = Reader("safe").read(dumped(value))
                self.assertEqual((type(read), read), (type(value), value))

    def test_exceptions(self):
        grouped = [ExceptionGroup("g", [ValueError(1)])] if sys.version_info >= (3, 11) else []  # noqa: F821
        for error in (
            ValueError("v", 1), KeyError("k"), OSError(2, "no", "/f"), UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
            SystemExit(3), StopIteration(4), ImportError("i", name="n"), decimal.DivisionByZero(), *grouped,
        ):  # fmt: skip
            with self.subTest(error):
                read = Reader("safe").read_exception(dumped(error))
                self.assertEqual((type(read), str(read), repr(read.args)), (type(error), str(error), repr(error.args)))

    def test_arrays(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("no numpy here")
        for array in (numpy.arange(6).reshape(2, 3), numpy.array(["a", "bc"]), numpy.array([1 + 2j]), numpy.array([], "f4")):
            read = Reader("safe").read(dumped(array))
            self.assertTrue((read == array).all() and read.dtype == array.dtype)
        self.assertEqual(Reader("safe").read(dumped(numpy.float64(1.5))), 1.5)
        with self.assertRaises(belljar.UntrustedResult):
            Reader("safe").read(dumped(numpy.array([Point(1)], object)))
