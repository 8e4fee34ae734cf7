"""CPython's own tests of `concurrent.futures`, where this interpreter has them."""

import importlib
import sys
import unittest

import belljar

from . import support


def find():
    """The modules with the tests: one until Python 3.11, then one for each part."""
    names = ["test.test_concurrent_futures"]
    if sys.version_info >= (3, 12):
        names = [f"{names[0]}.{part}" for part in ("executor", "test_wait", "test_as_completed")]
    try:
        return [importlib.import_module(name) for name in names]
    except (ImportError, unittest.SkipTest):
        return []


MODULES = find()
# Of the pools in this process only, or by the number of their workers.
OTHERS = {
    "test_max_workers_negative": "it has no workers of its own",
    "test_pending_calls_race": "it is about locks between threads",
}
for _module in MODULES:
    support.as_of_a_script(vars(_module))


def of_belljar(name):
    """A class of CPython's tests, run with our executor."""
    found = [vars(module)[name] for module in MODULES if name in vars(module)]

    class Case(*found[:1], unittest.TestCase):
        worker_count = 2
        executor_type = belljar.Executor

        def setUp(self):
            if not found:
                self.skipTest("this Python has no tests of itself")
            if self._testMethodName in OTHERS:
                self.skipTest(OTHERS[self._testMethodName])
            self.executor = belljar.Executor(support.shared(), runtime="native")

        def tearDown(self):
            self.executor.shutdown()

        def test_it_is_there(self):
            self.assertTrue(found)

    Case.__name__ = Case.__qualname__ = f"CPython{name}"
    return Case


Executors = of_belljar("ExecutorTest")
Waits = of_belljar("WaitTests")
Completions = of_belljar("AsCompletedTests")
