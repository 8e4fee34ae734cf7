"""`@belljar.function`: called here as usual, there by `remote`, `spawn` and `map`."""

import pickle
import unittest

import belljar

from . import support


@belljar.function
def double(x):
    """Twice."""
    return 2 * x


# The less usual runtime, where it runs this Python.
RUNTIME, PLATFORM = ("sandbox", "wasi") if support.HAS_SANDBOX else ("native", "linux")


@belljar.function(runtime=RUNTIME, timeout=20)
def quadruple(x):
    import sys

    return double(double(x)), sys.platform


@belljar.function
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Counter:
    def __init__(self, start):
        self.start = start

    @belljar.function
    def plus(self, n):
        return self.start + n


for decorated in (double, quadruple, fibonacci):
    decorated._function.__module__ = "__main__"
support.as_of_a_script(globals())


class Functions(unittest.TestCase):
    def setUp(self):
        executor = belljar.Executor(support.shared())
        belljar.set_default_executor(executor)
        self.addCleanup(executor.shutdown)
        self.addCleanup(belljar.set_default_executor, None)

    def test_it_is_called_here_as_usual(self):
        self.assertEqual((double(4), double.__name__, double.__doc__), (8, "double", "Twice."))
        self.assertEqual(Counter(1).plus(2), 3)

    def test_it_is_called_there(self):
        self.assertEqual(double.remote(21), 42)
        self.assertEqual(double.spawn(x=2).result(60), 4)
        self.assertEqual(list(double.map([1, 2, 3])), [2, 4, 6])
        self.assertEqual(list(double.starmap([(1,), (2,)])), [2, 4])

    def test_it_may_call_itself_and_others(self):
        self.assertEqual(fibonacci.remote(10), 55)
        self.assertEqual(quadruple.remote(3), (12, PLATFORM))

    def test_options_are_kept(self):
        self.assertEqual(quadruple.spawn(1).record().runtime, RUNTIME)
        record = double.options(timeout=7, retries=0).spawn(1).record()
        self.assertEqual((record.raw["limits"]["timeout_s"], record.raw["limits"]["max_retries"]), (7.0, 0))
        with self.assertRaises(TypeError):
            belljar.function(time_limit=3)(len)

    def test_others_get_the_plain_function(self):
        restored = pickle.loads(pickle.dumps(belljar.function(len)))
        self.assertIs(restored, len)

    def test_exceptions_come_back(self):
        with self.assertRaises(TypeError):
            double.remote(None)

    def test_the_default_executor_is_made_when_it_is_needed(self):
        belljar.set_default_executor(None)
        self.assertIs(belljar.default_executor(), belljar.default_executor())
