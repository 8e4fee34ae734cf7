"""Tests of `runner.run`, without a process around it: `python -m unittest` in this folder."""

import importlib.util
import pickle
import sys
import threading
import types
import unittest
import unittest.mock

import cloudpickle
import dill

import runner
import runner_progress

NOTHING = dill.dumps(((), {}))


def dumped(source, recurse=True, name="f"):
    """The dill of what `source` calls `f`, as a client's script would send it."""
    main = sys.modules["__main__"].__dict__
    exec(source, main)
    main[name].__module__ = "__main__"
    return dill.dumps(main[name], recurse=recurse)


def call(code, args=NOTHING):
    ok, pickled, kind, message, traceback, *times = runner.run(code, args)
    assert all(isinstance(time, int) and time >= 0 for time in times) and len(times) == 3
    return ok, dill.loads(pickled), kind, message, traceback


class Returns(unittest.TestCase):
    def test_arguments_arrive(self):
        code = dumped("def f(x, *rest, y=1, **more): return x, rest, y, more")
        args = dill.dumps(((1, 2), {"y": 3, "z": 4}))
        self.assertEqual(call(code, args)[:2], (True, (1, (2,), 3, {"z": 4})))

    def test_every_pickler(self):
        self.assertEqual(call(cloudpickle.dumps(lambda: 1))[1], 1)
        for protocol in range(6):
            code, args = pickle.dumps(len, protocol), pickle.dumps((([1, 2],), {}), protocol)
            self.assertEqual(call(code, args)[1], 2)

    def test_arrays_come_back_as_they_are_written(self):
        # Where numpy is in use, what has buffers is pickled by the protocol that has them.
        source = "import pickle\nclass Array(list):\n  def __reduce_ex__(self, protocol): return bytes, (pickle.PickleBuffer(b'x' * 9),)"
        with unittest.mock.patch.dict(sys.modules, numpy=types.ModuleType("numpy")):
            ok, pickled, *_ = runner.run(dumped(f"{source}\ndef f(): return Array()"), NOTHING)
            plain = runner.run(dumped("def f(): return 150"), NOTHING)[1]
        self.assertEqual((ok, pickled[1], pickle.loads(pickled)), (True, 5, b"x" * 9))
        self.assertEqual(plain, pickle.dumps(150, 4), "all else is as ever")

    def test_a_function_of_main_knows_itself_only(self):
        self.assertEqual(call(dumped("def f(n=4): return n and n + f(n - 1)", recurse=False))[1], 10)
        ok, error, *_ = call(dumped("import math\ndef f(): return math", recurse=False))
        self.assertIsInstance(error, NameError)

    def test_main_is_empty_for_every_call(self):
        call(dumped("def f():\n  global left\n  left = 1", recurse=False))
        self.assertEqual(call(dumped("def f(): return 'left' in globals()", recurse=False))[1], False)

    def test_what_lives_in_main_comes_back_by_value(self):
        ok, value, *_ = call(dumped("def f(): return f", recurse=False))
        self.assertEqual(value.__name__, "f")

    def test_our_own_code_reader_reads_as_dill_does(self):
        source = "def f(a, /, b, *c, d=2, **e):\n  try:\n    return [a for g in b]\n  finally:\n    del e"
        code = dumped(source)
        ours, dills = runner.loads(code), dill.loads(code)
        self.assertEqual(ours.__code__, dills.__code__)
        for name in dir(dills.__code__):
            if name.startswith("co_") and name != "co_lnotab" and not callable(getattr(dills.__code__, name)):
                self.assertEqual(getattr(ours.__code__, name), getattr(dills.__code__, name), name)


class Progress(unittest.TestCase):
    def setUp(self):
        self.told, tell = [], runner_progress._tell
        runner_progress._tell = lambda *said: self.told.append(said)
        self.addCleanup(setattr, runner_progress, "_tell", tell)
        # Whether the package is installed here or not.
        module = importlib.util.module_from_spec(runner_progress._Finder.find_spec("belljar"))
        module.__loader__.exec_module(module)
        patch = unittest.mock.patch.dict(sys.modules, belljar=module)
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_first_and_the_last_of_many_are_told(self):
        source = "def f():\n  import belljar\n  for i in range(1000): belljar.progress(i, 1000, f'item {i}')"
        self.assertEqual(call(dumped(source))[1], None)
        self.assertEqual((self.told[0], self.told[-1]), ((0.0, 1000.0, "item 0"), (999.0, 1000.0, "item 999")))
        self.assertLess(len(self.told), 100)
        call(dumped(source))
        self.assertEqual(self.told[-1][0], 999.0)

    def test_what_is_no_number_is_the_functions_error(self):
        ok, error, *_ = call(dumped("def f():\n  from belljar import progress\n  progress('half')"))
        self.assertEqual((type(error), str(error)), (TypeError, "`done` is a str: expected a number"))
        self.assertEqual(self.told, [])

    def test_nothing_else_of_the_package_works(self):
        ok, error, *_ = call(dumped("def f():\n  import belljar\n  belljar.Executor().submit(len)"))
        self.assertEqual((type(error), str(error)[:26]), (RuntimeError, "a call cannot send calls: "))


class OneGraph(unittest.TestCase):
    """What the function's and the arguments' pickles define is the same thing."""

    SOURCE = "class P:\n  def __init__(self, x): self.x = x\ndef f(p): return type(p) is P, isinstance(p, P), p.x"

    def test_a_class_in_two_pickles_is_one_class(self):
        for dumps in (cloudpickle.dumps, lambda value: dill.dumps(value, recurse=True)):
            main = sys.modules["__main__"].__dict__
            exec(self.SOURCE, main)
            code, args = dumps(main["f"]), dumps(((main["P"](4),), {}))
            self.assertEqual(call(code, args)[:2], (True, (True, True, 4)))

    def test_a_call_does_not_see_the_classes_of_another(self):
        main = sys.modules["__main__"].__dict__
        exec(self.SOURCE, main)
        code, args = cloudpickle.dumps(main["f"]), cloudpickle.dumps(((main["P"](1),), {}))
        call(code, args)
        first = dict(runner.call_state.classes)
        call(code, args)
        self.assertEqual(first.keys(), runner.call_state.classes.keys())
        self.assertIsNot(*[next(iter(classes.values())) for classes in (first, runner.call_state.classes)])

    def test_locks_arrive_unlocked(self):
        args = dill.dumps(((threading.RLock(), threading.Lock()), {}))
        self.assertEqual(call(dumped("def f(a, b): return a.acquire(False), b.acquire(False)"), args)[1], (True, True))

    def test_a_coroutine_function_is_awaited(self):
        source = "import asyncio\nasync def f():\n  await asyncio.sleep(0)\n  return 4"
        self.assertEqual(call(dumped(source))[1], 4)

    def test_a_name_that_did_not_travel_is_explained(self):
        ok, error, *_ = call(dumped("import math\ndef f(): return math.sqrt(4)", recurse=False))
        self.assertIn("travelled without `math`", error.__notes__[1])
        self.assertIn("recurse=True", error.__notes__[1])


class Raises(unittest.TestCase):
    def fails(self, source, kind, cls):
        ok, error, found, message, traceback = call(dumped(source))
        self.assertEqual((ok, found, type(error).__name__), (False, kind, cls))
        self.assertIn(cls, message)
        self.assertIn("Remote traceback", error.__notes__[0])
        return error

    def test_the_exception_comes_back(self):
        error = self.fails("def f(): raise KeyError('k')", "exception", "KeyError")
        self.assertEqual(error.args, ("k",))
        self.fails("class E(Exception): pass\ndef f(): raise E(1)", "exception", "E")

    def test_one_that_cannot_come_back_is_replaced_by_its_kind(self):
        source = "class E(OSError):\n  def __init__(self, a, b): super().__init__('t')\ndef f(): raise E(1, 2)"
        ok, error, *_ = call(dumped(source))
        self.assertIsInstance(error, OSError)
        self.assertEqual(str(error), "t")

    def test_it_comes_back_with_attributes_cause_and_context(self):
        source = (
            "class Quota(Exception):\n  def __init__(self, user, limit):\n    super().__init__(f'{user} is over {limit}')\n"
            "    self.user = user\ndef f():\n  try: {}['k']\n  except KeyError as e: raise Quota('ann', 5) from e"
        )
        error = self.fails(source, "exception", "Quota")
        self.assertEqual((str(error), error.user), ("ann is over 5", "ann"))
        self.assertIsInstance(error.__cause__, KeyError)
        self.assertIs(error.__context__, error.__cause__)

    def test_what_cannot_be_pickled_inside_is_left_out_and_named(self):
        source = "def f():\n  e = ValueError('text')\n  e.kept, e.items = 1, (n for n in [])\n  raise e"
        error = self.fails(source, "exception", "ValueError")
        self.assertEqual((str(error), error.kept), ("text", 1))
        self.assertIn("left out, as it cannot be pickled: `items`", error.__notes__)

    def test_lone_surrogates_are_texts_that_can_be_sent(self):
        ok, error, kind, message, remote = call(dumped("def f(): raise ValueError('odd \\udcff')"))
        self.assertEqual(str(error), "odd \udcff")
        self.assertIn("\\udcff", message.encode().decode())
        remote.encode()

    def test_limits_have_kinds(self):
        self.fails("def f(): return f()", "recursion", "RecursionError")
        self.fails("def f(): raise MemoryError('m')", "memory", "MemoryError")

    def test_no_memory_even_for_a_traceback_is_a_memory_error_all_the_same(self):
        # CPython keeps such exceptions ready and raises them without a frame to look at.
        runner._make_room(None)

    def test_endings_are_outcomes(self):
        self.fails("def f(): raise SystemExit(3)", "exception", "SystemExit")
        self.fails("def f(): raise KeyboardInterrupt", "exception", "KeyboardInterrupt")

    def test_what_cannot_be_pickled_names_its_type(self):
        ok, error, kind, message, _ = call(dumped("def f(): return (i for i in [])"))
        self.assertEqual(kind, "encode")
        self.assertIn("`generator`", message)
        self.assertIn("return a list", message)

    def test_what_is_no_call_fails_to_decode(self):
        good = dumped("def f(): return 1")
        for code, args in [
            (b"", NOTHING), (b"junk", NOTHING), (dill.dumps(42), NOTHING),
            (good, b""), (good, dill.dumps(1)), (good, dill.dumps(((), []))), (good, dill.dumps([(), {}])),
        ]:
            self.assertEqual(call(code, args)[2], "decode")

    def test_an_exception_that_breaks_when_looked_at(self):
        source = "class E(Exception):\n  def __str__(self): raise ValueError\nE.__repr__ = E.__str__\ndef f(): raise E"
        ok, error, kind, message, _ = call(dumped(source))
        self.assertEqual((ok, kind), (False, "exception"))
        self.assertIn("cannot be had", message)


if __name__ == "__main__":
    unittest.main()
