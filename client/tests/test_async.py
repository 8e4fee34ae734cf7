"""`AsyncExecutor`: the same with `await`."""

import asyncio
import time
import unittest

import belljar

from . import support


def scaled(x, by=3):
    return by * x


def wait_for(seconds):
    import time

    time.sleep(seconds)
    return seconds


def stop():
    raise StopIteration(3)


support.as_of_a_script(globals())


class Async(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        # unittest has asyncio tell of slow steps; a shared machine has many.
        asyncio.get_running_loop().slow_callback_duration = 10
        self.executor = belljar.AsyncExecutor(support.shared())
        self.addAsyncCleanup(self.executor.shutdown)

    async def test_calls_are_awaited(self):
        future = self.executor.submit(scaled, 2, by=4)
        self.assertEqual(await future, 8)
        self.assertEqual((await future.record()).status, "COMPLETED")
        self.assertEqual(await asyncio.gather(*(self.executor.submit(scaled, n) for n in range(50))), [3 * n for n in range(50)])

    async def test_map_is_iterated(self):
        self.assertEqual([value async for value in self.executor.map(scaled, range(5), buffersize=2)], [0, 3, 6, 9, 12])
        self.assertEqual([value async for value in self.executor.starmap(scaled, [(1, 2), (3, 4)])], [2, 12])

    async def test_exceptions_are_raised(self):
        with self.assertRaises(TypeError):
            await self.executor.submit(scaled)
        with self.assertRaises(belljar.TaskTimeout):
            await self.executor.options(timeout=0.2).submit(wait_for, 30)
        with self.assertRaisesRegex(RuntimeError, "StopIteration"):
            await self.executor.submit(stop)

    async def test_a_cancelled_future_cancels_its_task(self):
        future = self.executor.submit(wait_for, 60)
        await self.executor.flush()
        self.assertTrue(future.cancel())
        with self.assertRaises(asyncio.CancelledError):
            await future
        end = time.monotonic() + 30
        while await future.status() != "CANCELLED":
            self.assertLess(time.monotonic(), end)
            await asyncio.sleep(0.01)

    async def test_one_that_is_cancelled_on_the_way_leaves_no_task_behind(self):
        future = self.executor.submit(wait_for, 60)
        await asyncio.sleep(0)
        future.cancel()
        start = time.monotonic()
        await self.executor.shutdown()
        self.assertLess(time.monotonic() - start, 30)

    async def test_a_timeout_of_asyncio_cancels(self):
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(self.executor.submit(wait_for, 60), 0.3)

    async def test_tasks_are_found_again(self):
        future = self.executor.submit(scaled, 5)
        await self.executor.flush()
        self.assertEqual(await self.executor.reattach([future.task_id])[0], 15)

    async def test_nothing_is_taken_after_a_shutdown_and_nothing_stays_open(self):
        before = support.descriptors()
        async with belljar.AsyncExecutor(support.shared()) as executor:
            self.assertEqual(len(await asyncio.gather(*(executor.submit(scaled, n) for n in range(2000)))), 2000)
        await asyncio.sleep(0)  # The loop closes sockets at its next turn.
        self.assertEqual(support.descriptors(), before)
        with self.assertRaises(RuntimeError):
            executor.submit(scaled, 1)
