"""`Executor` is a pool of the standard library, in both runtimes."""

import concurrent.futures
import gc
import subprocess
import sys
import threading
import time
import traceback
import unittest
import warnings
from pathlib import Path
from unittest import mock

import belljar

from . import support

sys.path.insert(0, str(Path(__file__).parent / "importable"))
import on_the_path  # noqa: E402

FACTOR = 3


def scaled(x):
    return FACTOR * x


def divide(a, b=1):
    return a / b


def wait_for(seconds):
    import time

    time.sleep(seconds)
    return seconds


def is_even(n):
    return n == 0 or is_odd(n - 1)


def is_odd(n):
    return n != 0 and is_even(n - 1)


class Point:
    def __init__(self, x):
        self.x = x

    def doubled(self):
        return Point(2 * self.x)


support.as_of_a_script(globals())


class Native(unittest.TestCase):
    """The contract, natively."""

    runtime = "native"

    @classmethod
    def setUpClass(cls):
        cls.executor = belljar.Executor(support.shared(), runtime=cls.runtime)

    @classmethod
    def tearDownClass(cls):
        cls.executor.shutdown()

    def test_labels_that_no_worker_has_are_refused_at_once(self):
        error = self.executor.options(labels={"gpu": "none"}).submit(abs, -1).exception(60)
        self.assertIn("no live worker has them", str(error))

    def test_it_is_an_executor_of_the_standard_library(self):
        future = self.executor.submit(divide, 1, b=4)
        self.assertIsInstance(self.executor, concurrent.futures.Executor)
        self.assertIsInstance(future, concurrent.futures.Future)
        self.assertEqual((future.result(60), future.exception(), future.done()), (0.25, None, True))

    def test_map_keeps_the_order_and_as_completed_gives_all(self):
        self.assertEqual(list(self.executor.map(scaled, range(20))), [3 * n for n in range(20)])
        self.assertEqual(list(self.executor.map(pow, [2, 3], [5, 2])), [32, 9])
        self.assertEqual(list(self.executor.starmap(divide, [(8, 2), (9,)])), [4.0, 9.0])
        self.assertEqual(list(self.executor.map(scaled, [])), [])
        futures = [self.executor.submit(scaled, n) for n in range(5)]
        self.assertEqual({future.result() for future in belljar.as_completed(futures, 60)}, {0, 3, 6, 9, 12})

    def test_map_goes_only_so_far_ahead(self):
        taken = []
        numbers = (taken.append(n) or n for n in range(1000))
        results = self.executor.map(scaled, numbers, buffersize=4)
        self.assertEqual([next(results), next(results)], [0, 3])
        self.assertLess(len(taken), 10)
        results.close()

    def test_functions_arrive_with_what_they_refer_to(self):
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)

        base = 40
        self.assertEqual(self.executor.submit(scaled, 2).result(), 6)
        self.assertEqual(self.executor.submit(lambda x: base + x, 2).result(), 42)
        self.assertEqual(self.executor.submit(factorial, 5).result(), 120, "a recursive closure")
        self.assertTrue(self.executor.submit(is_even, 10).result(), "functions that refer to each other")
        self.assertEqual(self.executor.submit(Point(4).doubled).result().x, 8, "a method")
        self.assertEqual(self.executor.submit(len, "four").result(), 4, "a builtin")
        self.assertEqual(self.executor.submit(on_the_path.treble, 5).result(), 15, "of a module on the path")

    def test_both_picklers_do(self):
        with belljar.Executor(support.shared(), runtime=self.runtime, pickler="cloudpickle") as executor:
            self.assertEqual(executor.submit(scaled, 3).result(), 9)
        with self.assertRaisesRegex(ValueError, "`json`: use one of dill, cloudpickle"):
            belljar.Executor(pickler="json")

    def test_an_exception_comes_back_with_its_traceback(self):
        error = self.executor.submit(divide, 1, 0).exception(60)
        self.assertIsInstance(error, ZeroDivisionError)
        self.assertNotIsInstance(error, belljar.BelljarError)
        self.assertIn("in divide", "".join(error.__notes__))
        shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.assertEqual(shown.count("Remote traceback"), 1, "on every Python, of which some show no notes")

    def test_the_deadline_is_an_error_of_its_own(self):
        future = self.executor.options(timeout=0.2).submit(wait_for, 30)
        with self.assertRaises(belljar.TaskTimeout) as caught:
            future.result(60)
        self.assertIsInstance(caught.exception, TimeoutError)
        self.assertEqual(caught.exception.task_id, future.task_id)

    def test_a_functions_own_timeout_stays_its_own(self):
        def give_up():
            raise TimeoutError("mine")

        self.assertIs(type(self.executor.submit(give_up).exception(60)), TimeoutError)

    def test_what_cannot_be_pickled_is_refused_here_or_there(self):
        with self.assertRaisesRegex(belljar.SerializationError, r"argument 0, of type `generator`"):
            self.executor.submit(len, (n for n in []))
        with self.assertRaises(TypeError):
            self.executor.submit(42)
        error = self.executor.submit(lambda: (n for n in [])).exception(60)
        self.assertIsInstance(error, belljar.ResultNotEncoded)
        self.assertIn("`generator`", str(error))

    def test_a_memory_limit_is_an_error_of_its_own(self):
        error = self.executor.options(memory_mb=64, timeout=30).submit(lambda: len(bytearray(10**9))).exception(60)
        self.assertIsInstance(error, MemoryError)

    def test_a_running_call_is_cancelled(self):
        future = self.executor.submit(wait_for, 60)
        self.assertTrue(support.eventually(future.running))
        start = time.monotonic()
        self.assertTrue(future.cancel())
        self.assertLess(time.monotonic() - start, 10)
        self.assertTrue(future.cancelled() and future.done())
        self.assertEqual(future.status(), "CANCELLED")
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result()
        done = concurrent.futures.wait([future], 1).done
        self.assertEqual(done, {future})

    def test_what_has_ended_cannot_be_cancelled(self):
        future = self.executor.submit(scaled, 1)
        future.result(60)
        self.assertFalse(future.cancel())

    def test_the_record_tells_all(self):
        def speak():
            print("said")
            return 1

        future = self.executor.submit(speak)
        future.result(60)
        record = future.record()
        self.assertEqual((record.task_id, record.status, record.attempts), (future.task_id, "COMPLETED", 1))
        self.assertEqual((record.runtime, record.stdout.text), (self.runtime, "said\n"))
        self.assertGreater(record.durations_ms.run, 0)
        self.assertTrue(record.worker)

    def test_callbacks_hear_of_the_end(self):
        heard = threading.Event()
        self.executor.submit(scaled, 1).add_done_callback(lambda future: heard.set())
        self.assertTrue(heard.wait(60))

    def test_a_callback_that_waits_for_the_service_is_told_so(self):
        raised = []
        ended = threading.Event()

        def ask(future):
            try:
                future.record()
            except RuntimeError as error:
                raised.append(str(error))
            ended.set()

        self.executor.submit(wait_for, 0.2).add_done_callback(ask)
        self.assertTrue(ended.wait(60))
        self.assertIn("must not wait", raised[0])


@support.needs_sandbox
class Sandbox(Native):
    """The same in the sandbox."""

    runtime = "sandbox"

    def test_what_may_be_reached_is_asked_for_and_offered(self):
        def keep(text):
            with open("/tmp/kept", "w") as kept:
                kept.write(text)
            return open("/tmp/kept").read()

        self.assertEqual(self.executor.submit(keep, "here").result(60), "here")
        error = self.executor.options(scratch_mb=9).submit(keep, "here").exception(60)
        self.assertIsInstance(error, belljar.SandboxDenied)
        self.assertIn("9 MiB", str(error))
        error = self.executor.options(env=["SECRET"]).submit(keep, "here").exception(60)
        self.assertIsInstance(error, belljar.SandboxDenied)
        self.assertIsInstance(error, PermissionError)
        self.assertIn("`SECRET`", str(error))

    def test_the_sandbox_is_named_where_it_matters(self):
        def mean(values):
            import torch

            return torch.mean(values)

        error = self.executor.submit(mean, [1]).exception(60)
        self.assertIsInstance(error, belljar.NotInSandbox)
        self.assertIsInstance(error, ImportError)
        self.assertRegex(str(error), "torch.*native")


class Calls(unittest.TestCase):
    """What does not depend on the runtime."""

    def setUp(self):
        self.executor = belljar.Executor(support.shared())
        self.addCleanup(self.executor.shutdown)

    def test_tasks_are_found_again(self):
        with belljar.Executor(support.shared()) as first:
            futures = [first.submit(scaled, n) for n in range(3)]
            first.flush()
        ids = [future.task_id for future in futures]
        again = self.executor.reattach(ids)
        self.assertEqual([future.result(60) for future in again], [0, 3, 6])
        self.assertEqual([future.task_id for future in again], ids)
        unknown = self.executor.reattach(["0f8fad5b-d9cb-469f-a165-70867728950e", ids[0]])
        self.assertIsInstance(unknown[0].exception(60), belljar.NotFound)
        self.assertEqual(unknown[1].result(60), 0, "others are not drawn in")

    def test_a_record_that_cannot_be_read_concerns_its_call_alone(self):
        with support.Service() as service, belljar.Executor(service.url) as executor:
            # More than are asked for one by one.
            futures = [executor.submit(scaled, n) for n in range(40)]
            concurrent.futures.wait(futures, 60)
            bad = futures[30].task_id
            change = ["SETRANGE", f"{{belljar}}:task:{bad}", "0", "of another version"]
            subprocess.run(["redis-cli", "-s", f"{service.data}/redis.sock", *change], check=True, capture_output=True)
            again = executor.reattach([future.task_id for future in futures])
            others = [n for n in range(40) if n != 30]
            self.assertEqual([again[n].result(60) for n in others], [3 * n for n in others])
            with self.assertRaisesRegex(belljar.ServiceError, f"the record of task {bad} cannot be read"):
                again[30].result(60)

    def test_a_key_names_one_task(self):
        keyed = self.executor.options(idempotency_key=f"order-{time.time_ns()}")
        futures = [keyed.submit(scaled, 5), keyed.submit(scaled, 5)]
        self.assertEqual([future.result(60) for future in futures], [15, 15])
        self.assertEqual(futures[0].task_id, futures[1].task_id)
        self.assertIsInstance(keyed.submit(scaled, 6).exception(60), belljar.Conflict)

    def test_a_delayed_call_waits(self):
        future = self.executor.options(delay=0.5, priority="high").submit(scaled, 1)
        self.assertEqual(future.result(60), 3)
        self.assertGreaterEqual(future.record().durations_ms.queue, 0)
        self.assertEqual(future.record().priority, "high")

    def test_a_function_is_registered_once_per_content(self):
        def make():
            return lambda x: x - 1

        with belljar.Client(support.shared()) as client:
            self.executor.submit(scaled, 1).result(60)
            before = sum(1 for _ in client.functions())
            list(self.executor.map(scaled, range(50)))
            self.assertEqual(sum(1 for _ in client.functions()), before)
            for _ in range(3):
                self.assertEqual(self.executor.submit(make(), 1).result(60), 0)
            self.assertEqual(sum(1 for _ in client.functions()), before + 1)

    def test_another_python_is_refused_with_both_versions(self):
        from belljar import _calls

        own, _calls.own_python = _calls.own_python, lambda: "3.8"
        self.addCleanup(setattr, _calls, "own_python", own)
        error = self.executor.submit(lambda: 1).exception(60)
        self.assertIsInstance(error, belljar.PythonMismatch)
        self.assertIn("3.8", str(error))
        self.assertIn("3.11", str(error))

    def test_a_wrong_option_is_named(self):
        with self.assertRaisesRegex(TypeError, "no option `time_out`: there are runtime, timeout"):
            self.executor.options(time_out=3)
        error = self.executor.options(runtime="wasm").submit(scaled, 1).exception(60)
        self.assertIsInstance(error, belljar.InvalidRequest)
        self.assertIn("`wasm`", str(error))

    def test_a_large_function_is_warned_of_with_what_it_drags_along(self):
        ballast = bytes(2 << 20)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.assertEqual(self.executor.submit(lambda: len(ballast)).result(60), 2 << 20)
        self.assertRegex(str(caught[0].message), r"is 2\.0 MiB pickled, as it refers to `ballast` \(2\.0 MiB\)")
        self.assertEqual(Path(caught[0].filename).name, Path(__file__).name, "it names the caller")

    def test_large_results_come_back(self):
        self.assertEqual(self.executor.submit(bytes, 5 << 20).result(60), bytes(5 << 20))

    def test_too_much_is_refused_with_the_limit(self):
        with mock.patch("belljar._engine._UPLOADED_BYTES", 1 << 40):
            error = self.executor.submit(len, bytes(40 << 20)).exception(60)
        self.assertIsInstance(error, belljar.TooLarge)
        self.assertEqual(self.executor.submit(len, b"1").result(60), 1, "others are not drawn in")

    def test_quick_calls_do_not_wait_for_slow_ones(self):
        slow = self.executor.submit(wait_for, 30)
        start = time.monotonic()
        for n in range(5):
            self.assertEqual(self.executor.submit(scaled, n).result(60), 3 * n)
        self.assertLess(time.monotonic() - start, 5)
        self.assertTrue(slow.cancel())

    def test_many_slow_calls_do_not_hold_up_the_results(self):
        slow = [self.executor.options(delay=60 + n).submit(scaled, n) for n in range(8)]
        self.executor.flush()
        start = time.monotonic()
        self.assertEqual(self.executor.submit(scaled, 2).result(60), 6)
        self.assertLess(time.monotonic() - start, 5)
        for future in slow:
            self.assertTrue(future.cancel())

    def test_nothing_is_taken_after_a_shutdown(self):
        executor = belljar.Executor(support.shared())
        future = executor.submit(scaled, 1)
        executor.shutdown()
        self.assertTrue(future.done())
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            executor.submit(scaled, 1)
        self.assertEqual(future.record().status, "COMPLETED", "looking is still possible")
        executor.shutdown()

    def test_a_shutdown_cancels_what_it_is_asked_to(self):
        executor = belljar.Executor(support.shared())
        futures = [executor.submit(wait_for, 60) for _ in range(6)]
        start = time.monotonic()
        executor.shutdown(cancel_futures=True)
        self.assertLess(time.monotonic() - start, 30)
        self.assertTrue(all(future.cancelled() for future in futures))

    def test_a_shutdown_that_does_not_wait_loses_nothing(self):
        executor = belljar.Executor(support.shared())
        future = executor.submit(wait_for, 0.2)
        executor.shutdown(wait=False)
        self.assertEqual(future.result(60), 0.2)

    def test_a_service_that_is_not_there_is_named_with_the_way_out(self):
        executor = belljar.Executor("http://127.0.0.1:9", connect_timeout=0.1)
        self.addCleanup(executor.shutdown)
        error = executor.submit(scaled, 1).exception(60)
        self.assertIsInstance(error, belljar.ServiceUnreachable)
        self.assertIsInstance(error, ConnectionError)
        self.assertRegex(str(error), "http://127.0.0.1:9 .*`belljar up`")

    def test_descriptors_and_threads_are_given_back(self):
        gc.collect()
        # The shared thread pool of getaddrinfo's loop and the like exist by now.
        before = support.descriptors(), threading.active_count()
        with belljar.Executor(support.shared()) as executor:
            futures = [executor.submit(scaled, n) for n in range(10_000)]
            self.assertEqual([future.result(300) for future in futures], [3 * n for n in range(10_000)])
            self.assertLessEqual(support.descriptors() - before[0], 12)
            self.assertEqual(threading.active_count() - before[1], 1)
        self.assertEqual((support.descriptors(), threading.active_count()), before)

        executor = belljar.Executor(support.shared())
        executor.submit(scaled, 1).result(60)
        del executor
        gc.collect()
        self.assertTrue(support.eventually(lambda: (support.descriptors(), threading.active_count()) == before))

    def test_calls_nobody_waits_for_are_sent_before_the_program_ends(self):
        key = f"left-{time.time_ns()}"
        script = (
            "import belljar, sys\n"
            "executor = belljar.Executor(sys.argv[1]).options(idempotency_key=sys.argv[2])\n"
            "executor.submit(len, 'four')\n"
        )
        ended = support.run_python("-c", script, support.shared(), key)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        with belljar.Client(support.shared()) as client:
            function = next(item for item in client.functions() if item["name"] == "len")
            self.assertTrue(list(client.tasks(function_id=function["function_id"])))
