"""Lone calls are sent and awaited by their caller's own thread, and whatever goes wrong is the loop's to mend."""

import concurrent.futures
import json
import socketserver
import sys
import threading
import time
import unittest
from unittest import mock

import belljar
from belljar import _direct
from belljar._packed import loads
from belljar._pickling import encode

from . import support


def scaled(x):
    return 3 * x


def wait_for(seconds):
    import time

    time.sleep(seconds)
    return seconds


support.as_of_a_script(globals())


@unittest.skipUnless(_direct.IS_POSSIBLE, "needs epoll")
class Direct(unittest.TestCase):
    def setUp(self):
        self.executor = belljar.Executor(support.shared(), runtime="native")
        self.addCleanup(self.executor.shutdown)
        self.direct = self.executor._core.engine()._direct
        self.make_ready()

    def make_ready(self):
        for function in (scaled, wait_for):
            self.executor.submit(function, 0).result(60)
        self.assertTrue(support.eventually(lambda: self.direct.is_ready))

    def test_the_caller_reads_the_answer(self):
        readers = []
        finish = _direct.finish

        def note(*arguments):
            readers.append(threading.current_thread())
            finish(*arguments)

        with mock.patch.object(_direct, "finish", note):
            for n in range(20):
                self.assertEqual(self.executor.submit(scaled, n).result(60), 3 * n)
        self.assertGreater(readers.count(threading.main_thread()), 10)

    def test_large_values_go_the_same_way(self):
        self.executor.submit(bytes, b"").result(60)
        for n in range(4):
            self.assertTrue(support.eventually(lambda: self.direct.is_ready))
            value = bytes([n]) * (1 << 20)
            future = self.executor.submit(bytes, value)
            self.assertIsNotNone(future._direct)
            self.assertEqual(future.result(60), value)

    def test_the_loop_reads_what_nobody_waits_for(self):
        for n in range(20):
            futures = [self.executor.submit(scaled, n)]
            self.assertEqual([future.result() for future in belljar.as_completed(futures, 60)], [3 * n])
        future = self.executor.submit(scaled, 4)
        self.assertTrue(support.eventually(future.done))

    def test_slow_calls_end_too(self):
        for seconds in (0.01, 0.03, 0.2):
            self.assertEqual(self.executor.submit(wait_for, seconds).result(60), seconds)

    def test_a_short_timeout_leaves_the_result_for_later(self):
        for timeout in (0, 0.0001, 0.03):
            future = self.executor.submit(wait_for, 0.1)
            with self.assertRaises(concurrent.futures.TimeoutError):
                future.result(timeout)
            self.assertEqual(future.result(60), 0.1)

    def test_exceptions_are_raised(self):
        for _ in range(5):
            self.assertIsInstance(self.executor.submit(scaled).exception(60), TypeError)

    def test_one_that_is_cancelled_on_the_way_leaves_no_task_behind(self):
        future = self.executor.submit(wait_for, 60)
        self.assertTrue(future.cancel())
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result()
        start = time.monotonic()
        self.executor.shutdown()
        self.assertLess(time.monotonic() - start, 30)

    def test_callbacks_may_take_what_the_caller_holds(self):
        lock, heard = threading.Lock(), threading.Event()

        def hear(future):
            with lock:
                heard.set()

        future = self.executor.submit(scaled, 1)
        future.add_done_callback(hear)
        with lock:
            self.assertEqual(future.result(60), 3)
        self.assertTrue(heard.wait(60))

    def test_an_interrupted_wait_loses_nothing(self):
        with mock.patch.object(_direct._Connection, "receive", side_effect=KeyboardInterrupt):
            future = self.executor.submit(scaled, 5)
            with self.assertRaises(KeyboardInterrupt):
                future.result(60)
        self.assertEqual(future.result(60), 15)
        self.make_ready()
        with mock.patch.object(_direct, "finish", side_effect=KeyboardInterrupt):
            future = self.executor.submit(scaled, 6)
            with self.assertRaises(KeyboardInterrupt):
                future.result(60)
        self.assertEqual(future.result(60), 18)

    def test_threads_do_not_get_into_each_others_way(self):
        right = []

        def work(seed):
            for n in range(seed, seed + 300):
                future = self.executor.submit(scaled, n)
                if n % 7 == 0:
                    future.cancel()
                elif n % 7 == 1:
                    right.append(next(belljar.as_completed([future], 60)).result() == 3 * n)
                else:
                    right.append(future.result(60) == 3 * n)

        # Threads take turns at any instruction, and connections are given up in the middle of it all.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1000, 2000, 3000)]
        with mock.patch.object(_direct, "_ROUND_SECONDS", 0.002):
            self.executor._core._running.thread.loop.call_soon_threadsafe(self.direct._check_round)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertTrue(all(right))
        self.assertGreater(len(right), 1000, "every thread has come to its end")
        self.executor.flush()
        self.assertFalse(self.direct.is_busy)

    def test_a_connection_of_no_use_is_closed_and_made_again(self):
        loop = self.executor._core._running.thread.loop
        for _ in range(2):
            loop.call_soon_threadsafe(self.direct._check_round)
        self.assertTrue(support.eventually(lambda: not self.direct.is_ready))
        self.make_ready()


class Peer(socketserver.ThreadingTCPServer):
    """Runs no code: answers every batch with 7, but for the requests whose numbers say otherwise."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, script, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.script, self.bodies, self.count = script, [], 0
        self.url = "http://127.0.0.1:%d" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            path, length = self.request_head()
            if path is None:
                return
            body = self.body(length)
            if len(body) < length:
                return
            if path == "/register_function":
                self.answer({"function_id": "f"})
                continue
            if path == "/v1/functions/f?":
                self.answer({"runtime": "native"})
                continue
            self.server.bodies.append(loads(body))
            self.server.count += 1
            if not self.server.script(self, self.server.count):
                return

    def body(self, length):
        return self.rfile.read(length)

    def request_head(self):
        first, length = self.rfile.readline().split(), 0
        while first:
            name, _, value = self.rfile.readline().partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if not value:
                return first[1].decode(), length
        return None, 0

    def answer(self, reply, pieces=1):
        data = json.dumps(reply).encode()
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        size = -(-len(data) // pieces)
        for at in range(0, len(data), size):
            self.wfile.write(data[at : at + size])
            time.sleep(0.002 if pieces > 1 else 0)
        return True

    def seven(self, pieces=1):
        result = {"task_id": "t", "status": "COMPLETED", "result": encode(b"K\x07.")}
        return self.answer({"task_ids": ["t"], "results": [result]}, pieces)


@unittest.skipUnless(_direct.IS_POSSIBLE, "needs epoll")
class Faults(unittest.TestCase):
    """What may happen to a lone call on its way."""

    def check(self, script, handler=Handler, arguments=("four", "four", "four")):
        """The second call goes its own way and meets the fault; it and the third have their result."""
        peer = Peer(script, handler)
        self.addCleanup(peer.server_close)
        self.addCleanup(peer.shutdown)
        with belljar.Executor(peer.url) as executor:
            for argument in arguments:
                self.assertEqual(executor.submit(len, argument).result(60), 7)
        return [body["idempotency_key"] for body in peer.bodies]

    def test_a_lost_answer_is_asked_for_again_under_the_same_key(self):
        keys = self.check(lambda handler, number: number != 2 and handler.seven())
        self.assertEqual(keys[1], keys[2])
        self.assertEqual(len(set(keys)), 3)

    def test_half_an_answer_is_none(self):
        def half(handler, number):
            if number != 2:
                return handler.seven()
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        keys = self.check(half)
        self.assertEqual(keys[1], keys[2])

    def test_what_is_no_answer_is_none(self):
        for text in (b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"):
            with self.subTest(text):
                keys = self.check(lambda handler, number: handler.wfile.write(text) if number == 2 else handler.seven())
                self.assertEqual(keys[1], keys[2])

    def test_an_answer_may_come_in_pieces(self):
        self.assertEqual(len(self.check(lambda handler, number: handler.seven(pieces=40))), 3)

    def test_a_large_call_that_is_not_read_is_sent_again(self):
        is_over, large = threading.Event(), []

        class Deaf(Handler):
            def body(self, length):
                if length > 1 << 20:
                    large.append(length)
                    if len(large) == 1:
                        is_over.wait(60)
                return super().body(length)

        keys = self.check(lambda handler, _: handler.seven(), Deaf, ["four", "x" * (3 << 20), "four"])
        is_over.set()
        self.assertEqual(large, [large[0]] * 2)
        self.assertEqual(len(set(keys)), 3)

    def test_an_answer_that_never_comes_is_asked_for_again(self):
        with mock.patch.object(_direct, "_ROUND_SECONDS", 0.1):
            keys = self.check(lambda handler, number: number == 2 or handler.seven())
        self.assertEqual(keys[1], keys[2])
