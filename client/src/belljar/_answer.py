"""Reads the answers of HTTP/1.1 as they arrive: bodies with a Content-Length, in chunks, or until the end."""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

_LIMIT_HEAD = 64 * 1024
# A body of this size on has memory of its own, which is received into.
_LARGE_BYTES = 32 * 1024
# No more is set aside than this before it has come: an answer may claim any length.
_AHEAD_BYTES = 64 << 20
# The memory of a body up to this size is kept for the next: what is new to a process has to be mapped, page by page.
_KEPT_BYTES = 4 << 20
_CHUNKED = -1
_UNTIL_CLOSE = -2


class Response(NamedTuple):
    """An answer: its status, whether the connection ends with it, its body, and after how many seconds to try again. A large body is
    there until the next answer on its connection, or as long as there are views of it."""

    status: int
    is_last: bool
    body: Union[bytes, bytearray]
    retry_after: float = 0.0


class Answers:
    """The answers on one connection, one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Optional[tuple[int, bool, float]] = None
        self._length = 0
        self._chunks = bytearray()
        self._large: Optional[bytearray] = None
        self._filled = 0
        self._kept = bytearray()

    @property
    def has_room(self) -> bool:
        """Whether a large body is under way."""
        return self._large is not None

    def room(self) -> Optional[memoryview]:
        """Where the rest of a large body belongs; None where none is under way, and `feed` takes what comes."""
        if self._large is None:
            return None
        if self._filled == len(self._large):
            self._large += bytes(min(self._length - self._filled, _AHEAD_BYTES))
        return memoryview(self._large)[self._filled :]

    def filled(self, count: int) -> Optional[Response]:
        """So much has been received into the room; the answer, once it is whole."""
        self._filled += count
        if self._large is None or self._filled < self._length:
            return None
        body, self._large = self._large, None
        return self._finish(body)

    def feed(self, data: Union[bytes, bytearray, memoryview]) -> Optional[Response]:
        """Takes what has arrived; the answer, once it is whole. `ConnectionError` says that it is none."""
        try:
            if self._head is None and not self._buffer:
                response = _whole(bytes(data))
                if response is not None:
                    return response
            self._buffer += data
            return self._read()
        except ValueError as error:
            raise ConnectionError(f"the answer is no HTTP: {error}") from error

    def end(self) -> Optional[Response]:
        """The connection has ended; the answer that only this completes."""
        return self._finish(bytes(self._buffer)) if self._head is not None and self._length == _UNTIL_CLOSE else None

    def _read(self) -> Optional[Response]:
        if self._head is None and not self._read_head():
            return None
        if self._length == _CHUNKED:
            return self._read_chunks()
        if not 0 <= self._length <= len(self._buffer):
            if self._length >= _LARGE_BYTES:
                self._begin_large()
            return None
        body = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        return self._finish(body)

    def _begin_large(self) -> None:
        self._large, self._filled = self._set_aside(min(self._length, _AHEAD_BYTES)), len(self._buffer)
        self._large[: self._filled] = self._buffer
        self._buffer = bytearray()

    def _set_aside(self, size: int) -> bytearray:
        if size > _KEPT_BYTES:
            return bytearray(size)  # Zeros that nobody has looked at cost no memory.
        try:
            self._kept.append(0)
        except BufferError:  # Somebody still has a view of the last body.
            self._kept = bytearray(size)
        else:
            del self._kept[size:]
            self._kept += bytes(size - len(self._kept))
        return self._kept

    def _read_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LIMIT_HEAD:
                    raise ValueError("its headers do not end")
                return False
            head = bytes(self._buffer[: end + 2]).lower()
            del self._buffer[: end + 4]
            status = int(head[9:12])
            if status >= 200:
                break
        later = _seconds(_field(head, b"retry-after")) if status >= 400 else 0.0
        self._head = (status, _field(head, b"connection") == b"close", later)
        self._length = _body_length(status, head)
        return True

    def _read_chunks(self) -> Optional[Response]:
        while True:
            end = self._buffer.find(b"\r\n")
            if end < 0:
                return None
            size = int(self._buffer[:end].partition(b";")[0], 16)
            if len(self._buffer) < end + 4 + size:
                return None
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]
            if size == 0:
                body, self._chunks = bytes(self._chunks), bytearray()
                return self._finish(body)

    def _finish(self, body: Union[bytes, bytearray]) -> Response:
        assert self._head is not None
        (status, is_last, retry_after), self._head = self._head, None
        return Response(status, is_last, body, retry_after)


def _whole(data: bytes) -> Optional[Response]:
    """The usual answer, which comes in one piece: a success that says how long it is. None where it is another one."""
    end = data.find(b"\r\n\r\n") + 4
    head = data[:end].lower()
    length = _field(head, b"content-length")
    if not length.isdigit() or len(data) != end + int(length) or head[9:12] != b"200" or b"transfer-encoding" in head:
        return None
    return Response(200, b"\r\nconnection: close" in head, data[end:])


def _body_length(status: int, head: bytes) -> int:
    if status in (204, 304):
        return 0
    if _field(head, b"transfer-encoding") == b"chunked":
        return _CHUNKED
    length = _field(head, b"content-length")
    return int(length) if length else _UNTIL_CLOSE


def _seconds(field: bytes) -> float:
    """A number of seconds; 0 where it is none, such as a date."""
    return float(field) if field.isdigit() else 0.0


def _field(head: bytes, name: bytes) -> bytes:
    """A field of a head in lower case; only few are of interest, so that no others are taken apart."""
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest[: rest.index(b"\r\n")].strip() if found else b""
