"""Futures as arguments: calls that wait for the results of others."""

import concurrent.futures
import threading
import unittest
from collections import namedtuple

import belljar

from . import support

Pair = namedtuple("Pair", "left right")


def add(a, b=0):
    return a + b


def total(items):
    return sum(items)


def fail(text):
    raise LookupError(text)


def wait_for(seconds):
    import time

    time.sleep(seconds)
    return seconds


def nested(value):
    return value


class Holder:
    def __init__(self, future):
        self.future = future


support.as_of_a_script(globals())


class HeldCalls(unittest.TestCase):
    def setUp(self):
        self.executor = belljar.Executor(support.shared(), runtime="native")
        self.addCleanup(self.executor.shutdown)

    def submit(self, *args, **kwargs):
        return self.executor.submit(*args, **kwargs)

    def test_a_future_stands_for_its_result(self):
        one = self.submit(add, 1, 2)
        self.assertEqual(self.submit(add, one, b=self.submit(add, one, one)).result(60), 9)

    def test_a_chain_of_many_needs_no_thread(self):
        before = threading.active_count()
        future = self.submit(add, 0)
        for _ in range(200):
            future = self.submit(add, future, 1)
        self.assertLessEqual(threading.active_count(), before + 1)
        self.assertEqual(future.result(60), 200)

    def test_futures_in_containers(self):
        one, two = self.submit(add, 1), self.submit(add, 2)
        kept = [5, (6,)]
        given = {"a": [one, (two, {"b": one})], "p": Pair(one, 3), "s": frozenset([two]), "kept": kept}
        expected = {"a": [1, (2, {"b": 1})], "p": (1, 3), "s": frozenset([2]), "kept": kept}
        self.assertEqual(self.submit(nested, given).result(60), expected)

    def test_a_container_that_holds_itself(self):
        items = [self.submit(add, 1)]
        table = {"items": items}
        self.assertEqual(self.submit(total, table["items"]).result(60), 1)

    def test_map_over_futures(self):
        futures = [self.submit(add, n) for n in range(5)]
        self.assertEqual(list(self.executor.map(add, futures, futures)), [0, 2, 4, 6, 8])
        self.assertEqual(self.submit(total, futures).result(60), 10)

    def test_a_future_of_another_pool(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            self.assertEqual(self.submit(add, pool.submit(add, 3), 1).result(60), 4)

    def test_one_that_has_ended_already(self):
        one = self.submit(add, 1)
        one.result(60)
        self.assertEqual(self.submit(add, one, 1).result(60), 2)

    def test_a_failure_goes_on_to_all_that_need_it(self):
        failed = self.submit(fail, "first")
        slow = self.submit(wait_for, 5)
        later = self.submit(add, self.submit(add, failed), slow)
        with self.assertRaisesRegex(LookupError, "first"):
            later.result(4)  # Without waiting for the other.
        self.assertIs(later.exception(), failed.exception())
        slow.cancel()

    def test_a_cancel_goes_on_to_all_that_need_it(self):
        never = concurrent.futures.Future()
        held = self.submit(add, never)
        later = self.submit(add, held)
        self.assertTrue(held.cancel())
        with self.assertRaises(concurrent.futures.CancelledError):
            later.result(60)
        self.executor.shutdown()  # Nothing is left to wait for.

    def test_a_cancelled_future_cancels(self):
        never = concurrent.futures.Future()
        held = self.submit(add, never)
        never.cancel()
        never.set_running_or_notify_cancel()
        with self.assertRaises(concurrent.futures.CancelledError):
            held.result(60)

    def test_shutdown_waits_for_them(self):
        first = self.submit(wait_for, 0.2)
        held = [self.submit(add, first, n) for n in range(3)]
        self.executor.shutdown(wait=True)
        self.assertTrue(all(future.done() for future in held))
        self.assertEqual([future.result(0) for future in held], [0.2, 1.2, 2.2])

    def test_shutdown_without_waiting_still_sends_them(self):
        first = self.submit(wait_for, 0.2)
        held = self.submit(add, first, 1)
        self.executor.shutdown(wait=False)
        self.assertEqual(held.result(60), 1.2)

    def test_shutdown_cancels_them(self):
        held = self.submit(add, concurrent.futures.Future())
        self.executor.shutdown(cancel_futures=True)
        self.assertTrue(held.cancelled())

    def test_flush_waits_until_they_are_sent(self):
        held = self.submit(add, self.submit(wait_for, 0.1), 1)
        self.executor.flush()
        self.assertIsNotNone(held.task_id)
        self.assertEqual(held.record().task_id, held.task_id)

    def test_what_cannot_be_pickled_is_refused_at_once(self):
        one = self.submit(add, 1)
        with self.assertRaises(belljar.SerializationError):
            self.submit(lambda x, items=(n for n in []): x, one)

    def test_a_future_elsewhere_is_refused_with_the_way(self):
        with self.assertRaisesRegex(TypeError, r"pass its result\(\), or put it into a list"):
            self.submit(nested, Holder(self.submit(add, 1)))
        mixed = self.submit(nested, [Holder(self.submit(add, 1)), self.submit(add, 2)])
        with self.assertRaisesRegex(TypeError, r"pass its result\(\)"):
            mixed.result(60)
        future = self.submit(add, 1)
        with self.assertRaisesRegex(belljar.SerializationError, r"pass its result\(\)"):
            self.submit(lambda: future)
