"""Values that are uploaded once, and results that stay with the service."""

import asyncio
import functools
import itertools
import pickle
import unittest
from pathlib import Path
from unittest import mock

import belljar
from belljar._service import Service

from . import support

LARGE = bytes(range(256)) * 8192


class Point:
    def __init__(self, x):
        self.x = x


def total(data, more=0):
    return sum(data[:1000]) + more


def second(values):
    return values["b"][1]


def kind_of(value):
    return type(value).__name__, type(value) is Point and value.x


def make(size):
    return b"x" * size


def length(value):
    return len(value)


def point(x):
    return Point(x)


def dangerous():
    import os

    return os.system


def same(one, two):
    return one == two


support.as_of_a_script(globals())


class Uploads:
    """Counts what is uploaded while it is entered."""

    def __enter__(self):
        self.sizes = []
        send = Service.upload

        async def upload(service, value, digest):
            self.sizes.append(len(value))
            return await send(service, value, digest)

        self._patch = mock.patch.object(Service, "upload", upload)
        self._patch.start()
        return self

    def __exit__(self, *_):
        self._patch.stop()


class Values(unittest.TestCase):
    runtime = "native"

    def setUp(self):
        self.executor = belljar.Executor(support.shared(), runtime=self.runtime)
        self.addCleanup(self.executor.shutdown)

    def test_a_reference_stands_for_its_value(self):
        data = self.executor.put(LARGE)
        self.assertEqual(data.id, self.executor.put(LARGE).id)
        self.assertEqual(self.executor.submit(total, data).result(60), sum(LARGE[:1000]))
        self.assertEqual(self.executor.submit(total, data, more=self.executor.put(2)).result(60), sum(LARGE[:1000]) + 2)
        again = belljar.Reference(data.id)
        self.assertEqual(self.executor.submit(second, {"a": data, "b": [1, again]}).result(60), LARGE)
        self.assertEqual(self.executor.submit(same, data, again).result(60), True)
        self.assertEqual(data.get(), LARGE)

    def test_an_instance_is_of_the_class_of_the_function(self):
        reference = self.executor.put(Point(3))
        self.assertEqual(self.executor.submit(kind_of, reference).result(60), ("Point", 3))

    def test_by_every_pickler(self):
        data = self.executor.put([1, 2, 3])
        for pickler in ("dill", "cloudpickle"):
            with belljar.Executor(support.shared(), runtime=self.runtime, pickler=pickler) as executor:
                self.assertEqual(executor.submit(total, data, more=1).result(60), 7, pickler)

    def test_a_map_sends_what_repeats_once(self):
        expected = [sum(LARGE[:1000]) + n for n in range(5)]
        for repeated in (itertools.repeat(LARGE), [LARGE] * 5):
            with Uploads() as uploads:
                found = list(self.executor.map(total, repeated, range(5)))
            self.assertEqual((found, len(uploads.sizes)), (expected, 1))
        with Uploads() as uploads:
            list(self.executor.map(total, [LARGE, LARGE[::-1]], range(2)))
        self.assertEqual(uploads.sizes, [], "they differ")

    def test_a_result_stays_there(self):
        kept = self.executor.options(keep=True)
        made = kept.submit(make, 100_000).result(60)
        self.assertIsInstance(made, belljar.Reference)
        self.assertEqual(self.executor.submit(length, made).result(60), 100_000)
        small = kept.submit(make, 3)
        # The future stands for its result, which is the reference.
        self.assertEqual(self.executor.submit(length, small).result(60), 3)
        self.assertEqual(small.result().get(), b"xxx")
        chain = functools.reduce(lambda value, _: kept.submit(make, self.executor.submit(length, value)), range(3), made)
        self.assertEqual(len(chain.result(60).get()), 100_000)
        with self.assertRaises(ZeroDivisionError):
            kept.submit(divmod, 1, 0).result(60)

    def test_an_instance_that_stays_there(self):
        made = self.executor.options(keep=True).submit(point, 7).result(60)
        self.assertEqual(self.executor.submit(kind_of, made).result(60), ("Point", 7))

    def test_a_deleted_value_is_unknown(self):
        data = self.executor.put(b"to be deleted" * 3)
        data.delete()
        with self.assertRaises(belljar.NotFound):
            self.executor.submit(length, data).result(60)
        with self.assertRaises(belljar.NotFound):
            data.get()

    def test_where_a_reference_cannot_be(self):
        data = self.executor.put(1)
        with self.assertRaises(belljar.SerializationError):
            self.executor.put([data])
        with self.assertRaises(belljar.SerializationError):
            self.executor.submit(lambda: data)
        with self.assertRaises(belljar.SerializationError):
            pickle.dumps(data)
        with self.assertRaises(ValueError):
            belljar.Reference("file:x")

    def test_on_an_event_loop(self):
        async def run():
            async with belljar.AsyncExecutor(support.shared(), runtime=self.runtime) as executor:
                data = await executor.put(LARGE)
                made = await executor.options(keep=True).submit(make, 10)
                return await executor.submit(total, data), await executor.submit(length, made)

        self.assertEqual(asyncio.run(run()), (sum(LARGE[:1000]), 10))


@support.needs_sandbox
class SandboxedValues(Values):
    runtime = "sandbox"


class OfBoth(unittest.TestCase):
    def setUp(self):
        self.native = belljar.Executor(support.shared(), runtime="native")
        self.addCleanup(self.native.shutdown)

    @support.needs_sandbox
    def test_what_the_sandbox_made_is_data_elsewhere(self):
        with belljar.Executor(support.shared(), runtime="sandbox") as sandbox:
            data = sandbox.options(keep=True).submit(make, 5).result(60)
            self.assertEqual(self.native.submit(length, data).result(60), 5)
            bad = sandbox.options(keep=True).submit(dangerous).result(60)
            with self.assertRaises(belljar.ServiceError) as refused:
                self.native.submit(length, bad).result(60)
            self.assertEqual(refused.exception.code, "value_not_data")
            with self.assertRaises(belljar.UntrustedResult):
                bad.get()

    def test_arguments_larger_than_a_request(self):
        data = bytes(40 << 20)
        with Uploads() as uploads:
            self.assertEqual(self.native.submit(length, data).result(60), len(data))
        self.assertEqual(len(uploads.sizes), 1)

    def test_values_larger_than_a_message(self):
        data = self.native.put(bytes(100 << 20))
        self.assertEqual(self.native.submit(length, data).result(60), 100 << 20)
        self.assertEqual(self.native.options(files={"a": "b"}).submit(length, data).result(60), 100 << 20)
        data.delete()

    def test_results_larger_than_a_message(self):
        size = 100 << 20
        self.assertEqual(self.native.submit(make, size).result(120), make(size))
        kept = self.native.options(keep=True).submit(make, size).result(120)
        self.assertEqual(self.native.submit(length, kept).result(120), size)

    @support.needs_sandbox
    def test_results_of_the_sandbox_larger_than_a_message(self):
        size = 70 << 20
        with belljar.Executor(support.shared(), runtime="sandbox") as sandbox:
            kept = sandbox.options(keep=True)
            self.assertEqual(self.native.submit(length, kept.submit(make, size).result(120)).result(60), size)
            with self.assertRaises(belljar.LimitReached) as reached:
                kept.submit(make, 130 << 20).result(120)
            self.assertIn("the limit is 128 MiB", str(reached.exception))

    @support.needs_sandbox
    def test_more_than_the_sandbox_takes(self):
        data = self.native.put(bytes(130 << 20))
        with belljar.Executor(support.shared(), runtime="sandbox") as sandbox:
            with self.assertRaises(belljar.LimitReached) as reached:
                sandbox.submit(length, data).result(60)
            self.assertIn("134217728 at most", str(reached.exception))
            self.assertEqual(sandbox.submit(length, b"1").result(60), 1, "others are not drawn in")
        data.delete()

    def test_an_upload_goes_on(self):
        data, sent = bytes(range(251)) * 100_000, []
        answer = Service._answer

        async def losing(service, method, path, body=None, wait=0.0, headers=""):
            reply = await answer(service, method, path, body, wait, headers)
            if method == "PUT":
                sent.append(len(body))
                if len(sent) == 2:  # As if the answer were lost and the request sent again.
                    return await answer(service, method, path, body, wait, headers)
            return reply

        with mock.patch.object(Service, "_answer", losing):
            reference = self.native.put(data)
        self.assertEqual(self.native.get(reference), data)
        self.assertLess(sum(sent), 2 * len(data))


class OfWorkers(unittest.TestCase):
    """Values that are too large for messages, where workers are processes of their own."""

    def passes(self, mode):
        size = 70 << 20
        with support.Service("-m", mode, "--workers", "1") as service:
            with belljar.Executor(service.url, runtime="native") as native:
                kept = native.options(keep=True).submit(make, size)
                self.assertEqual(native.submit(length, kept).result(120), size)
                self.assertEqual(native.submit(make, size).result(120), make(size))
            if support.HAS_SANDBOX:
                with belljar.Executor(service.url, runtime="sandbox") as sandbox:
                    kept = sandbox.options(keep=True).submit(make, size)
                    self.assertEqual(sandbox.submit(length, kept).result(120), size)

    def test_by_push(self):
        self.passes("push")

    def test_by_pull(self):
        self.passes("pull")

    def test_a_worker_that_is_killed_while_it_leaves_a_result(self):
        size = 200 << 20
        with support.Service("-m", "push", "--workers", "1") as service:
            with belljar.Executor(service.url, runtime="native") as native:
                kept = native.options(keep=True).submit(make, size)
                left = lambda: [*Path(service.data, "blobs").glob("*/tmp-*"), *Path(service.data, "blobs").glob("*/result-*")]
                self.assertTrue(support.eventually(lambda: bool(left())))
                service.kill("belljar worker")
                self.assertEqual(native.submit(length, kept).result(120), size)
