"""Large values travel as bytes, both ways, and small ones as ever."""

import json
import os
import pickle
import unittest

import belljar
from belljar import _packed
from belljar._calls import Options
from belljar._packed import BINARY_BYTES, Packed, has_names, loads

from . import support


def echoed(*values):
    return values if len(values) != 1 else values[0]


def of_size(size):
    return b"\x93c" * (size // 2)


def failing(value):
    raise ValueError(value)


class Point:
    def __init__(self, data):
        self.data = data

    def __eq__(self, other):
        return isinstance(other, Point) and self.data == other.data


support.as_of_a_script(globals())
LARGE = os.urandom(BINARY_BYTES - 1), os.urandom(BINARY_BYTES), of_size(70_000), of_size(1 << 20), "ä" * 500_000


class Forms(unittest.TestCase):
    def test_what_is_packed_comes_back(self):
        large, larger = os.urandom(BINARY_BYTES), os.urandom(1 << 20)
        body = {"a": [1, -1, 1 << 40, 0.5, None, True, False], "b" * 40: {"c": large, "ä": b"x"}, "d": larger, "e": []}
        packed = Packed(body)
        whole = b"".join(packed.pieces)
        self.assertEqual(len(packed), len(whole))
        self.assertEqual(loads(whole), body)
        self.assertTrue(any(piece is larger for piece in packed.pieces), "it was copied")
        self.assertIsInstance(loads(bytearray(whole))["d"], memoryview)

    def test_every_form_of_a_value_is_read(self):
        for body, value in (
            (b"\x82\xa1a\x01\xa1b\xff", {"a": 1, "b": -1}),
            (b"\x93\xcc\xff\xcd\x01\x00\xce\x00\x01\x00\x00", [255, 256, 65536]),
            (b"\x93\xd0\x80\xd1\xff\x00\xd2\xff\xff\x00\x00", [-128, -256, -65536]),
            (b"\x92\xcf" + bytes(7) + b"\x05\xca\x3f\x00\x00\x00", [5, 0.5]),
            (b"\x93\xd9\x01a\xda\x00\x01b\xdb\x00\x00\x00\x01c", ["a", "b", "c"]),
            (b"\x93\xc4\x01a\xc5\x00\x01b\xc6\x00\x00\x00\x01c", [b"a", b"b", b"c"]),
            (b"\xdc\x00\x01\xdd\x00\x00\x00\x01\xde\x00\x01\xa1a\xdf\x00\x00\x00\x00", [[{"a": {}}]]),
            (b'{"a": "\xc3\xa4"}', {"a": "ä"}),
            (b' {"a": [1]}\n', {"a": [1]}),
        ):
            self.assertEqual(loads(body), value)
        for broken in (b"\x82\xa1a", b"\xc1", b"\xc7\x01\x01a", b"\xc4\x05a", b"\x91\xa1\xff", b"", b"{", b"{}x"):
            with self.subTest(broken), self.assertRaises(ValueError):
                loads(broken)

    def test_names_are_found_outside_of_large_values_only(self):
        large = of_size(200_000)
        for value in (large, [large, 1, large], (large, "a" * 100_000, {"x": large}), [1] * 100_000, [of_size(70_000)] * 3):
            self.assertFalse(has_names(pickle.dumps(value, 4)))
            self.assertFalse(has_names(memoryview(pickle.dumps(value, 4))))
        for value in ((large, dict), [len, large], [[1] * 50_000, large, len], (large, large, [len])):
            self.assertTrue(has_names(pickle.dumps(value, 4)))


class Calls(unittest.TestCase):
    def setUp(self):
        self.executor = belljar.Executor(support.shared(), runtime="native")
        self.addCleanup(self.executor.shutdown)

    def test_values_of_every_size_come_back(self):
        for value in (1, b"", *LARGE, [*LARGE, 1], Point(LARGE[3]), {"a": LARGE[2], "b": Point(1)}):
            self.assertEqual(self.executor.submit(echoed, value).result(60), value)
            # Large ones go one way only.
            self.assertEqual(self.executor.submit(len, [value]).result(60), 1)
        self.assertEqual(self.executor.submit(of_size, 1 << 20).result(60), of_size(1 << 20))

    def test_small_and_large_values_share_a_batch(self):
        values = [LARGE[n % 5] if n % 3 == 0 else n for n in range(60)]
        self.assertEqual(list(self.executor.map(echoed, values)), values)

    @support.needs_sandbox
    def test_a_sandbox_takes_and_gives_them_too(self):
        with belljar.Executor(support.shared(), runtime="sandbox") as executor:
            for value in (*LARGE, Point(LARGE[3])):
                self.assertEqual(executor.submit(echoed, value).result(60), value)

    def test_a_large_exception_is_raised(self):
        error = self.executor.submit(failing, LARGE[3]).exception(60)
        self.assertIsInstance(error, ValueError)
        self.assertEqual(error.args, (LARGE[3],))

    def test_options_travel_with_them(self):
        executor = self.executor.options(idempotency_key=os.urandom(8).hex(), priority="high", delay=0.01, outputs=["*"])
        first, second = (executor.submit(echoed, LARGE[3]) for _ in range(2))
        self.assertEqual((first.result(60), second.result(60)), (LARGE[3], LARGE[3]))
        self.assertEqual(first.task_id, second.task_id)
        self.assertEqual(first.record().raw["priority"], "high")

    def test_large_files_travel_with_small_arguments(self):
        executor = self.executor.options(files={"a": LARGE[3]}, outputs=["a"])
        future = executor.submit(echoed, 1)
        self.assertEqual((future.result(60), future.files()), (1, {"a": LARGE[3]}))

    def test_a_large_function_is_registered(self):
        table = os.urandom(BINARY_BYTES)
        self.assertEqual(self.executor.submit(lambda: table).result(60), table)


class SmallCalls(unittest.TestCase):
    def test_they_are_json(self):
        from belljar._calls import Call, FunctionRef
        from belljar._engine import _body

        def body(payload):
            return _body("id", [Call(None, FunctionRef("f", b"", Options(), None), payload, Options(), "")], 0.0)

        self.assertEqual(json.loads(body("gAQu"))["payloads"], ["gAQu"])
        self.assertIsInstance(body(b"x"), _packed.Packed)
