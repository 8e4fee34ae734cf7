"""Sessions: calls that go on where the one before has ended."""

import asyncio
import time
import unittest

import belljar

from . import support

count = 0
seen = ["of the script"]


class Point:
    def __init__(self, x):
        self.x = x


def add(number):
    global count
    count += number
    return count


def note(number):
    seen.append(number)
    return list(seen)


def keep(point):
    global kept
    kept = point


def is_kept(cls):
    return type(kept) is cls and kept.x


def fails():
    global count
    count = 100
    raise LookupError("as it should")


def keep_text(given):
    global text
    text = given
    return len(text)


def doubled(given):
    return 2 * given


support.as_of_a_script(globals())


@support.needs_sandbox
class Sessions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared())
        cls.addClassCleanup(cls.executor.shutdown)

    def test_source_text_runs_step_by_step(self):
        with self.executor.session(name="notebook") as session:
            self.assertIsNone(session.run("import math; x = [1, 2]"))
            self.assertEqual(session.run("x.append(3)\nx"), [1, 2, 3])
            self.assertEqual(session.run("{'pi': round(math.pi, 2)}"), {"pi": 3.14})
            self.assertEqual(session.run("class Odd: pass\nOdd"), "<class '__main__.Odd'>")
            with self.assertRaisesRegex(ZeroDivisionError, "division") as raised:
                session.run("x.append(4)\n1 / 0")
            self.assertIn("1 / 0", str(raised.exception.__notes__))
            with self.assertRaises(SyntaxError):
                session.run("x.append(")
            self.assertEqual(session.run("x"), [1, 2, 3, 4])
            self.assertEqual(session.record()["name"], "notebook")
        with self.assertRaises(belljar.NotFound):
            session.run("x")

    def test_globals_of_functions_are_the_sessions(self):
        with self.executor.session() as session, self.executor.session() as other:
            self.assertEqual([session.submit(add, 2).result() for _ in range(3)], [2, 4, 6])
            self.assertEqual(session.submit(note, 1).result(), ["of the script", 1])
            with self.assertRaises(LookupError):
                session.submit(fails).result()
            self.assertEqual(session.run("count, seen"), (100, ["of the script", 1]))
            self.assertEqual(other.submit(add, 1).result(), 1)
            session.submit(keep, Point(7)).result()
            self.assertEqual(session.submit(is_kept, Point).result(), 7)

    def test_calls_run_in_the_order_of_submission_whatever_they_call(self):
        with self.executor.session() as session:
            futures = [session.submit(note if number % 3 else add, number) for number in range(1, 20)]
            noted = [number for number in range(1, 20) if number % 3]
            self.assertEqual(futures[-1].result(), ["of the script", *noted])
            self.assertEqual(session.run("count"), 3 + 6 + 9 + 12 + 15 + 18)

    def test_a_fork_goes_its_own_way_and_an_id_finds_a_session_again(self):
        with self.executor.session() as session:
            session.run("x = 1")
            with session.fork() as fork:
                fork.run("x += 1")
                self.assertEqual((session.run("x"), fork.run("x")), (1, 2))
            with belljar.Executor(support.shared()) as elsewhere:
                self.assertEqual(elsewhere.session(id=session.id).run("x"), 1)

    def test_what_is_too_much_fails_and_leaves_the_session_as_it_was(self):
        with self.executor.session(memory_mb=256) as session:
            session.run("x = 1")
            with self.assertRaisesRegex(belljar.LimitReached, "the limit is 24 MiB"):
                session.run("import os; x = [os.urandom(1 << 20) for _ in range(40)]; None")
            self.assertEqual(session.run("x"), 1)
            with self.assertRaises(belljar.ExecutorDied):
                session.run("x = 2; import os; os._exit(1)")
            self.assertEqual(session.run("x"), 1)

    def test_arguments_may_refer_to_values(self):
        large = "x" * 200_000
        with self.executor.session() as session:
            reference = self.executor.put(large)
            self.assertEqual(session.submit(keep_text, reference).result(), len(large))
            kept = self.executor.options(keep=True).submit(doubled, reference)
            self.assertEqual(session.submit(keep_text, kept.result()).result(), 2 * len(large))
            self.assertEqual(session.run("len(text)"), 2 * len(large))

    def test_a_delayed_call_waits_and_those_after_it_wait_for_it(self):
        with self.executor.session() as session:
            session.run("steps = []")
            later = self.executor.options(delay=0.7).session(id=session.id)
            start = time.monotonic()
            delayed = later.submit_source("steps.append('delayed')")
            self.executor.flush()
            self.assertEqual(session.run("steps.append('after'); steps"), ["delayed", "after"])
            self.assertGreaterEqual(time.monotonic() - start, 0.7)
            delayed.result()


@support.needs_sandbox
class AsyncSessions(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().slow_callback_duration = 10
        self.executor = belljar.AsyncExecutor(support.shared())
        self.addAsyncCleanup(self.executor.shutdown)

    async def test_a_session_is_made_used_forked_and_deleted(self):
        async with self.executor.session(name="notebook") as session:
            self.assertEqual(await session.run("x = [1]; x"), [1])
            self.assertEqual(await session.submit(add, 3), 3)
            futures = [session.submit_source(f"x.append({number}); len(x)") for number in range(5)]
            self.assertEqual(await asyncio.gather(*futures), [2, 3, 4, 5, 6])
            with self.assertRaises(ZeroDivisionError):
                await session.run("1 / 0")
            self.assertEqual((await session.record())["name"], "notebook")
            async with await session.fork() as fork:
                await fork.run("x.clear()")
            again = await self.executor.session(id=session.id)
            self.assertEqual(await again.run("len(x), count"), (6, 3))
        with self.assertRaises(belljar.NotFound):
            await session.run("x")

    async def test_what_is_not_made_yet_says_so(self):
        with self.assertRaisesRegex(RuntimeError, "not made yet"):
            self.executor.session().submit(add, 1)
