"""Arrays in arguments and results: what is pickled of them, and how often it is copied."""

import pickle
import sys
import types
import unittest
from pathlib import Path
from unittest import mock

import belljar
from belljar._arrays import dump_probe
from belljar._packed import in_frames
from belljar._reading import _View

from . import support

sys.path.insert(0, str(Path(__file__).parent / "importable"))

from like_an_array import Array

LARGE = 200_000


def back(array):
    return array


def kinds(array):
    return type(array).__name__, type(array.data).__name__, len(array.data)


support.as_of_a_script(globals())


def with_numpy():
    """As if the program used numpy."""
    return mock.patch.dict(sys.modules, {"numpy": types.ModuleType("numpy")})


class Probes(unittest.TestCase):
    def test_the_content_of_arrays_is_left_out(self):
        array = Array(bytearray(LARGE))
        with with_numpy():
            pickled, has_arrays = dump_probe(([array], {}))
        self.assertTrue(has_arrays and len(pickled) < 1000)
        self.assertTrue(in_frames(pickled, b"Array"))
        pickled, has_arrays = dump_probe(([array], {}))
        self.assertEqual((has_arrays, pickled), (False, pickle.dumps(([array], {}), 4)), "without numpy there are none")

    def test_what_has_no_arrays_is_whole(self):
        with with_numpy():
            for value in (150, "text", bytes(LARGE), [bytearray(5)], {"a": bytes(LARGE), "b": print}):
                pickled, has_arrays = dump_probe(value)
                self.assertFalse(has_arrays)
                self.assertEqual(pickle.loads(pickled), value)
            self.assertEqual(dump_probe(150)[0], pickle.dumps(150, 4))

    def test_large_bytes_are_not_looked_through(self):
        for protocol in (4, 5):
            for value in (b"__main__" * LARGE, [b"__main__" * LARGE, bytearray(b"__main__" * LARGE), "__main__" * LARGE]):
                plain = pickle.dumps([value, 1], protocol)
                self.assertFalse(in_frames(plain, b"__main__"))
            self.assertTrue(in_frames(pickle.dumps([bytes(LARGE), "__main__"], protocol), b"__main__"))

    def test_a_view_reads_as_a_file_does(self):
        values = [bytes(LARGE), bytearray(LARGE), "é" * LARGE, list(range(1000)), print, {"a": -1.5}]
        for protocol in range(6):
            pickled = pickle.dumps(values, protocol)
            for data in (pickled, bytearray(pickled), memoryview(pickled)):
                self.assertEqual(pickle.Unpickler(_View(data)).load(), values)
            with self.assertRaises((EOFError, pickle.UnpicklingError)):
                pickle.Unpickler(_View(pickled[:-1])).load()


class Calls(unittest.TestCase):
    def test_arrays_go_there_and_back(self):
        for runtime in ("native", "sandbox") if support.HAS_SANDBOX else ("native",):
            for pickler in (None, "dill", "cloudpickle"):
                with belljar.Executor(support.shared(), runtime=runtime, pickler=pickler, results="trusted") as executor, with_numpy():
                    array = Array(bytearray(LARGE))
                    # dill itself knows the older protocol alone.
                    kept = "bytearray" if pickler is None else mock.ANY
                    self.assertEqual(executor.submit(kinds, array).result(60), ("Array", kept, LARGE), (runtime, pickler))
                    self.assertEqual(executor.submit(back, array).result(60).data, array.data)
