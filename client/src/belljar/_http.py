"""HTTP/1.1 over one kept-alive connection, for an event loop.

Our own, because a whole call takes half a millisecond, of which http.client would spend 79 us of processor
time on a request and its answer (`make bench-sdk` shows what is left). It speaks what the gateway speaks:
bodies with a Content-Length or in chunks, no redirects, no compression, no cookies.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, List, Mapping, Optional, Tuple, Union, cast
from urllib.parse import SplitResult, urlsplit

from ._answer import Answers, Response
from ._packed import Packed, Pickled

_RECEIVE_BYTES = 64 * 1024

Certificate = Union[str, Tuple[str, str]]
"""A PEM file with a certificate and its private key, or one of each."""
Request = List[Pickled]
"""The bytes of a request: large values in it are not copied together with the rest."""


class AddressError(ValueError):
    """A URL that names no service."""


class Address:
    """Where a service is, taken from its URL."""

    def __init__(
        self,
        url: str,
        headers: Optional[Mapping[str, str]] = None,
        *,
        ca: Optional[str] = None,
        cert: Optional[Certificate] = None,
    ) -> None:
        parts, port = _split(url)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise AddressError(f"`{url}` is no address of a service; hint: one looks like http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.tls = _tls(ca, cert) if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._netloc = parts.netloc.rpartition("@")[2]
        self.show(headers or {})

    def show(self, headers: Mapping[str, str]) -> None:
        """Sends these headers with every request from now on."""
        self._head = _common_head(self._netloc, headers, "application/json")
        self._packed_head = _common_head(self._netloc, headers, "application/msgpack")

    def request(self, method: str, path: str, body: Union[bytes, Packed, None], headers: str = "") -> Request:
        """The bytes of a request; `headers` are lines of its own."""
        if isinstance(body, Packed):
            head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._packed_head}{headers}"
            return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1"), *body.pieces]
        head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{headers}"
        if body is None:
            return [f"{head}\r\n".encode("latin-1")]
        return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body]


def _split(url: str) -> tuple[Optional[SplitResult], Optional[int]]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts, parts.port
    except ValueError:  # A port that is no number, or a broken IPv6 address.
        return None, None


def _tls(ca: Optional[str], cert: Optional[Certificate]) -> ssl.SSLContext:
    """What certificates are trusted: those that a file names, else those of the system, or of `SSL_CERT_FILE`; and what is shown."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise AddressError(f"`{ca}` holds no certificates: {error}") from error
    if cert is not None:
        own, key = (cert, None) if isinstance(cert, str) else cert
        try:
            context.load_cert_chain(own, key)
        except (OSError, ssl.SSLError) as error:
            files = f"`{own}`" if key is None else f"`{own}` and `{key}`"
            raise AddressError(f"{files} hold no certificate with its private key: {error}") from error
    return context


def _common_head(netloc: str, headers: Mapping[str, str], content_type: str) -> str:
    fields = {
        "Host": netloc,
        "Content-Type": content_type,
        # The service chooses: large results come as bytes.
        "Accept": "application/json, application/msgpack",
        **headers,
    }
    for name, value in fields.items():
        if any(character in "\r\n" for character in name + value):
            raise ValueError(f"the header `{name}` has a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


class Connection(asyncio.BufferedProtocol):
    """One connection; it carries one request at a time. Made by `connect`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Optional[asyncio.Transport] = None
        self._answers = Answers()
        # One for all answers: asyncio's own are so large that each is mapped and unmapped.
        # A view: asyncio writes what TLS has to parts of it, and a part of a bytearray is a copy.
        self._received = memoryview(bytearray(_RECEIVE_BYTES))
        self._answer: Optional[asyncio.Future[Response]] = None

    @property
    def is_open(self) -> bool:
        """Whether it can carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    def peer(self) -> tuple[int, Any]:
        """The family and the address of the other end."""
        assert self._transport is not None
        own = self._transport.get_extra_info("socket")
        return own.family, self._transport.get_extra_info("peername")

    async def exchange(self, request: Request, timeout: float) -> Response:
        """Sends a request and waits for its answer; closes the connection if that is cut short."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        for piece in request:
            # Of a view, asyncio sends the rest without copying it before.
            self._transport.write(memoryview(piece))
        deadline = self._loop.call_later(timeout, self._late, timeout)
        try:
            response = await answer
        except BaseException:
            self.close()
            raise
        finally:
            deadline.cancel()
            self._answer = None
        if response.is_last:
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
        if error is None:
            self._finish(self._answers.end())
        self._fail(ConnectionResetError(f"the connection was closed: {error or 'by the service'}"))

    def get_buffer(self, sizehint: int) -> memoryview:
        room = self._answers.room()
        return self._received if room is None else room

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self._answers.has_room:
                self._finish(self._answers.filled(nbytes))
            else:
                self._finish(self._answers.feed(self._received[:nbytes]))
        except ConnectionError as error:
            self._fail(error)

    def _finish(self, response: Optional[Response]) -> None:
        if response is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(response)


async def connect(address: Address, timeout: float) -> Connection:
    """Opens a connection."""
    loop = asyncio.get_running_loop()
    opening = loop.create_connection(lambda: Connection(loop), address.host, address.port, ssl=address.tls)
    try:
        _, connection = await asyncio.wait_for(opening, timeout)
    except asyncio.TimeoutError:
        raise ConnectionError(f"no connection to {address.url} within {timeout:g} s") from None
    return connection
