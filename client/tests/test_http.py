"""HTTP with a scripted peer: what a gateway, a proxy or a fault may answer."""

import asyncio
import time
import unittest

import belljar
from belljar import _answer
from belljar._answer import Response
from belljar._http import Address, connect
from belljar._service import Service

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"status": "OK"}'
LATER = b"HTTP/1.1 503 Later\r\nContent-Length: 2\r\n\r\n{}"



def quota(seconds):
    body = b'{"detail": "tenant `acme` has 5 functions", "code": "quota_exceeded", "quota": "functions"}'
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: %d\r\nContent-Length: %d\r\n\r\n"
    return head % (seconds, len(body)) + body


class Peer:
    """Answers one request after another with what the script says; None closes the connection instead."""

    def __init__(self, *script):
        self.script = list(script)
        self.requests = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            self.requests.append(head)
            answer = self.script.pop(0) if self.script else OK
            for part in [] if answer is None else answer if isinstance(answer, list) else [answer]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if answer is None or not self._stays(answer):
                break
        writer.close()

    @staticmethod
    def _stays(answer):
        return b"close" not in (answer if isinstance(answer, bytes) else b"".join(answer)).lower()

    def service(self, **more):
        return Service(Address(self.url), **{"connect_timeout": 5, "retry_timeout": 5, **more})


class Answers(unittest.IsolatedAsyncioTestCase):
    async def exchange(self, answer, timeout=5):
        async with Peer(answer) as peer:
            address = Address(peer.url, {"X-Key": "secret"})
            connection = await connect(address, 5)
            try:
                response = await connection.exchange(address.request("GET", "/", None), timeout)
            finally:
                connection.close()
            self.assertIn(b"x-key: secret\r\n", peer.requests[0].lower())
            return response

    async def test_bodies_of_every_form_are_read(self):
        for answer in (
            OK,
            [OK[:10], OK[10:30], OK[30:]],
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"statu\r\n9;x=y\r\n", b's": "OK"}\r\n0\r\n\r\n'],
            b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status": "OK"}',
        ):
            with self.subTest(answer):
                self.assertEqual((await self.exchange(answer)).body, b'{"status": "OK"}')

    async def test_an_answer_is_the_same_however_it_is_cut(self):
        later = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n{}"
        for whole, expected in (
            (OK, Response(200, False, b'{"status": "OK"}')),
            (later, Response(200, True, b"{}")),
            (busy, Response(429, False, b"{}", 3.0)),
        ):
            for at in range(len(whole)):
                answers = _answer.Answers()
                found = [answers.feed(whole[:at]) if at else None, answers.feed(whole[at:])]
                self.assertEqual(found, [None, expected], at)
            answers = _answer.Answers()
            self.assertEqual([answers.feed(whole + whole), answers.feed(b"")], [expected, expected])

    async def test_the_memory_of_a_large_body_is_the_next_ones_once_nobody_has_a_view(self):
        answers = _answer.Answers()

        def body(byte, size):
            self.assertIsNone(answers.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + byte * 9))
            room = answers.room()
            room[:] = byte * len(room)
            found = answers.filled(len(room)).body
            self.assertEqual(found, byte * size)
            return found

        first = body(b"1", 50_000)
        for byte, size in ((b"2", 40_000), (b"3", 90_000), (b"4", 50_000)):
            self.assertIs(body(byte, size), first)
        view = memoryview(first)
        self.assertIsNot(body(b"5", 50_000), first)
        self.assertEqual(view, b"4" * 50_000)
        large = body(b"6", _answer._KEPT_BYTES + 1)
        self.assertIsNot(body(b"7", 50_000), large)

    async def test_what_is_no_answer_is_an_error_of_the_connection(self):
        for answer, said in (
            (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, "headers do not end"),
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nshort", "closed"),
            (None, "closed"),
            ([], "no answer came within"),
        ):
            with self.subTest(said), self.assertRaisesRegex(ConnectionError, said):
                await self.exchange(answer, timeout=0.3)

    async def test_addresses_are_checked(self):
        for url in ("ftp://host", "http://", "file:///etc"):
            with self.assertRaisesRegex(ValueError, "is no address of a service"):
                Address(url)
        with self.assertRaisesRegex(ValueError, "line break"):
            Address("http://host", {"X": "a\r\nb: c"})
        self.assertEqual(Address("http://me:secret@host:1/base/").url, "http://host:1/base")
        self.assertIn(b"GET /base/x HTTP/1.1\r\nHost: host:1\r\n", Address("http://host:1/base/").request("GET", "/x", None)[0])


class Retries(unittest.IsolatedAsyncioTestCase):
    async def test_what_comes_later_is_waited_for(self):
        async with Peer(LATER, None, LATER) as peer:
            service = peer.service()
            self.assertEqual(await service.status("id"), "OK")
            self.assertEqual(len(peer.requests), 4)
            service.close()

    async def test_a_connection_is_kept_and_replaced_when_it_was_closed(self):
        async with Peer(OK, OK, None, OK) as peer:
            service = peer.service()
            for _ in range(3):
                await service.status("id")
            self.assertEqual((len(peer.requests), peer.connections), (4, 2))
            service.close()

    async def test_patience_ends(self):
        async with Peer(*[LATER] * 100) as peer:
            service = peer.service(retry_timeout=0.2)
            with self.assertRaises(belljar.ServiceError) as caught:
                await service.status("id")
            self.assertEqual(caught.exception.status, 503)
            service.close()

    async def test_a_quota_is_asked_for_again_when_it_says_so(self):
        async with Peer(quota(1)) as peer:
            service, start = peer.service(), time.monotonic()
            self.assertEqual(await service.status("id"), "OK")
            self.assertEqual(len(peer.requests), 2)
            self.assertGreaterEqual(time.monotonic() - start, 0.99)
            service.close()

    async def test_a_quota_that_is_used_up_for_longer_is_told_at_once(self):
        async with Peer(quota(3600)) as peer:
            service = peer.service()
            with self.assertRaises(belljar.QuotaExceeded) as caught:
                await service.status("id")
            error = caught.exception
            self.assertEqual(str(error), "tenant `acme` has 5 functions")
            self.assertEqual((error.status, error.code, error.quota), (429, "quota_exceeded", "functions"))
            self.assertEqual((error.retry_after, len(peer.requests)), (3600.0, 1))
            service.close()

    async def test_a_refusal_is_not_repeated(self):
        refusal = b'{"detail": "no", "code": "unknown_task"}'
        answer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s" % (len(refusal), refusal)
        page = b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\n<html>"
        async with Peer(answer, page) as peer:
            service = peer.service()
            with self.assertRaisesRegex(belljar.NotFound, "no"):
                await service.status("id")
            with self.assertRaisesRegex(belljar.ServiceError, "status 403"):
                await service.status("id")
            self.assertEqual(len(peer.requests), 2)
            service.close()
