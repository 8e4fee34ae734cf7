"""A function, its arguments and its result are one object graph, always as it is now."""

import asyncio
import sys
import tempfile
import threading
import unittest
from dataclasses import dataclass
from pathlib import Path

import belljar

from . import support

RATE = 2
SETTINGS = {"rate": 3}
HIDDEN = object()


@dataclass
class Point:
    x: int
    scale = 1


def scaled(x):
    return RATE * x


def by_settings(x):
    return SETTINGS["rate"] * x


def helper():
    return 1


def uses_helper():
    return helper()


def scale_of(p):
    return p.scale * p.x


async def later(x):
    await asyncio.sleep(0.01)
    return x + 1


support.as_of_a_script(globals())


class Graphs(unittest.TestCase):
    runtime = "native"

    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared(), runtime=cls.runtime)

    @classmethod
    def tearDownClass(cls):
        cls.executor.shutdown()

    def call(self, function, *args):
        return self.executor.submit(function, *args).result(60)

    def test_what_has_changed_is_noticed_at_the_next_call(self):
        global RATE, helper
        self.assertEqual([self.call(scaled, 2), self.call(by_settings, 2), self.call(uses_helper)], [4, 6, 1])
        self.assertEqual(self.call(scale_of, Point(3)), 3)
        before = helper
        try:
            RATE, SETTINGS["rate"], Point.scale = 5, 7, 2
            helper = lambda: 9  # noqa: E731
            self.assertEqual([self.call(scaled, 2), self.call(by_settings, 2), self.call(uses_helper)], [10, 14, 9])
            self.assertEqual(self.call(scale_of, Point(3)), 6)
        finally:
            RATE, SETTINGS["rate"], Point.scale, helper = 2, 3, 1, before

    def test_changes_of_closures_defaults_and_code_are_noticed(self):
        held = [1]

        def total(more=None):
            return sum(held) + (more or 0)

        self.assertEqual(self.call(total), 1)
        held.append(5)
        self.assertEqual(self.call(total), 6)
        total.__defaults__ = (10,)
        self.assertEqual(self.call(total), 16)
        total.__code__ = (lambda more=None: held[0]).__code__
        self.assertEqual(self.call(total), 1)

    def test_what_has_not_changed_is_pickled_once(self):
        self.call(scaled, 1)
        registry = self.executor._core.functions
        ref = registry.prepare(scaled, (1,), {}, self.executor._options)[0]
        self.assertIs(registry.prepare(scaled, (2,), {}, self.executor._options)[0], ref)
        first = registry.prepare(scale_of, (Point(1),), {}, self.executor._options)
        again = registry.prepare(scale_of, (Point(1),), {}, self.executor._options)
        self.assertIs(first[0], again[0])
        self.assertLess(len(again[1]), 200, "the class does not travel with every call")

    def test_a_function_has_there_what_it_has_here(self):
        def documented(x: int = 1, *, y=2):
            "What it does."

        attributes = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__dict__")
        renamed, marked, undocumented, typed = (lambda: 0 for _ in range(4))
        renamed.__name__, renamed.__qualname__, marked.mark, undocumented.__doc__ = "name", "quali.fied", 1, ""
        typed.__annotations__ = {"return": "int"}
        functions = [scaled, uses_helper, documented, renamed, marked, undocumented, typed, lambda: 0, later]
        with_types = (*attributes, "__annotations__")
        there = self.call(lambda names, *given: [[getattr(f, name) for name in names] for f in given], with_types, *functions)
        self.assertEqual(there, [[getattr(f, name) for name in with_types] for f in functions])
        by_itself = [self.call(lambda f, names: [getattr(f, name) for name in names], f, with_types) for f in functions]
        self.assertEqual(by_itself, there)

    def test_a_coroutine_function_is_awaited_there(self):
        self.assertEqual(self.call(later, 3), 4)

    def test_modules_beside_the_script_travel_along(self):
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder, "beside")
            package.mkdir()
            (package / "__init__.py").write_text("from .deep import Item\nFACTOR = 2\n")
            (package / "deep.py").write_text("class Item:\n  def __init__(self, n): self.n = n\n")
            Path(folder, "lone.py").write_text("import beside\ndef item(n): return beside.Item(n * beside.FACTOR)\n")
            script = (
                "import sys, belljar, lone, beside\n"
                "ex = belljar.Executor(sys.argv[1], runtime=sys.argv[2])\n"
                "got = ex.submit(lone.item, 4).result(60)\n"
                "assert type(got) is beside.Item and got.n == 8, got\n"
                "beside.FACTOR = 5\n"
                "assert ex.submit(lone.item, 4).result(60).n == 20\n"
                "def inside():\n"
                "    import beside.deep\n"
                "    return beside.deep.Item(1).n\n"
                "assert ex.submit(inside).result(60) == 1\n"
                "assert ex.submit(lambda i: type(i) is beside.Item, got).result(60)\n"
                "assert ex.submit(len, [got]).result(60) == 1\n"
                "print('done')\n"
            )
            Path(folder, "script.py").write_text(script)
            ran = support.run_python(str(Path(folder, "script.py")), support.shared(), self.runtime)
            self.assertEqual(ran.stdout, "done\n", ran.stderr)

    def test_options_that_name_one_thing_are_a_list_of_one(self):
        self.assertEqual(self.executor.options(env="API_KEY")._options.env, ("API_KEY",))
        self.assertEqual(self.executor.options(allow=Point)._options.allow, (Point,))
        with self.assertRaisesRegex(ValueError, "it must be `safe` or `trusted`"):
            self.executor.options(results="any")

    def test_what_is_shown_names_task_status_and_service(self):
        future = self.executor.submit(scaled, 1)
        future.result(60)
        self.assertEqual(repr(future), f"<belljar.Future of task {future.task_id}, finished at {self.executor.url}>")
        self.assertIn(self.executor.url, repr(self.executor))

    def test_a_wait_that_is_too_short_says_for_what(self):
        event = threading.Event()
        future = self.executor.submit(later, 1)
        future.add_done_callback(lambda _: event.set())
        with self.assertRaisesRegex(Exception, "has not ended within 0 s"):
            self.executor.submit(__import__("time").sleep, 1).result(0)
        self.assertTrue(event.wait(60))


@support.needs_sandbox
class SandboxGraphs(Graphs):
    """The same in the sandbox."""

    runtime = "sandbox"

    def test_an_exception_of_a_class_that_the_function_made_keeps_its_text(self):
        def fail():
            class Local(Exception):
                def __init__(self, n):
                    super().__init__(f"number {n}")

            raise Local(4)

        error = self.executor.submit(fail).exception(60)
        self.assertEqual((type(error), str(error)), (belljar.RemoteError, "Local: number 4"))
        self.assertIn("in fail", "".join(error.__notes__))

    def test_what_would_run_code_here_is_refused(self):
        def evil():
            import os

            class Evil:
                def __reduce__(self):
                    return os.getcwd, ()

            return Evil()

        error = self.executor.submit(evil).exception(60)
        self.assertIsInstance(error, belljar.UntrustedResult)
        self.assertIn("posix.getcwd", str(error))
        trusted = self.executor.options(results="trusted").submit(evil).result(60)
        self.assertIsInstance(trusted, str)
