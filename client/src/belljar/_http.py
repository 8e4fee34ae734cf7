"""HTTP/1.1 over one kept-alive connection, for an event loop.

Our own, because a call spends a tenth of a millisecond on the way there and back: http.client takes
79 us of processor time for a request and its answer, this 10 (`make bench-sdk` shows what is left).
It speaks what the gateway speaks: bodies with a Content-Length or in chunks, no redirects, no
compression, no cookies.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Mapping, NamedTuple, Optional, cast
from urllib.parse import SplitResult, urlsplit

_LIMIT_HEAD = 64 * 1024
_CHUNKED = -1
_UNTIL_CLOSE = -2


class Response(NamedTuple):
    """An answer: its status, its headers with lower-case names, and its body."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Address:
    """Where a service is, taken from its URL."""

    def __init__(self, url: str, headers: Optional[Mapping[str, str]] = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`{url}` is no address of a service; hint: one looks like http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._head = _common_head(parts, headers or {})

    def request(self, method: str, path: str, body: Optional[bytes]) -> bytes:
        """The bytes of a request."""
        head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}"
        if body is None:
            return f"{head}\r\n".encode("latin-1")
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _common_head(parts: SplitResult, headers: Mapping[str, str]) -> str:
    fields = {
        "Host": parts.netloc.rpartition("@")[2],
        "Content-Type": "application/json",
        "Accept": "application/json",
        **headers,
    }
    for name, value in fields.items():
        if any(character in "\r\n" for character in name + value):
            raise ValueError(f"the header `{name}` has a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


class Connection(asyncio.Protocol):
    """One connection; it carries one request at a time. Made by `connect`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Optional[asyncio.Transport] = None
        self._buffer = bytearray()
        self._answer: Optional[asyncio.Future[Response]] = None
        self._head: Optional[tuple[int, Mapping[bytes, bytes]]] = None
        self._length = 0
        self._chunks = bytearray()
        self.was_used = False

    @property
    def is_open(self) -> bool:
        """Whether it can carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, timeout: float) -> Response:
        """Sends a request and waits for its answer; closes the connection if that is cut short."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        self._transport.write(request)
        deadline = self._loop.call_later(timeout, self._late, timeout)
        try:
            response = await answer
        except BaseException:
            self.close()
            raise
        finally:
            deadline.cancel()
            self._answer = None
        self.was_used = True
        if response.headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return response

    def close(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _late(self, timeout: float) -> None:
        self._fail(ConnectionError(f"no answer came within {timeout:g} s"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._transport = None
        if self._head is not None and self._length == _UNTIL_CLOSE and error is None:
            self._finish(bytes(self._buffer))
        else:
            self._fail(ConnectionResetError(f"the connection was closed: {error or 'by the service'}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._read()
        except ValueError as error:
            self._fail(ConnectionError(f"the answer is no HTTP: {error}"))

    def _read(self) -> None:
        if self._head is None and not self._read_head():
            return
        if self._length == _CHUNKED:
            self._read_chunks()
        elif 0 <= self._length <= len(self._buffer):
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
            self._finish(body)

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LIMIT_HEAD:
                    raise ValueError("its headers do not end")
                return False
            first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
            del self._buffer[: end + 4]
            status = int(first[9:12])
            if status >= 200:
                break
        headers = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        self._head = (status, headers)
        self._length = _body_length(status, headers)
        return True

    def _read_chunks(self) -> None:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return
            size = int(self._buffer[:end].partition(b";")[0], 16)
            if len(self._buffer) < end + 4 + size:
                return
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]
            if size == 0:
                body, self._chunks = bytes(self._chunks), bytearray()
                self._finish(body)
                return

    def _finish(self, body: bytes) -> None:
        assert self._head is not None
        (status, headers), self._head = self._head, None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Response(status, headers, body))


def _body_length(status: int, headers: Mapping[bytes, bytes]) -> int:
    if status in (204, 304):
        return 0
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _CHUNKED
    length = headers.get(b"content-length")
    return _UNTIL_CLOSE if length is None else int(length)


async def connect(address: Address, timeout: float) -> Connection:
    """Opens a connection."""
    loop = asyncio.get_running_loop()
    opening = loop.create_connection(lambda: Connection(loop), address.host, address.port, ssl=address.tls)
    try:
        _, connection = await asyncio.wait_for(opening, timeout)
    except asyncio.TimeoutError:
        raise ConnectionError(f"no connection to {address.url} within {timeout:g} s") from None
    return connection
