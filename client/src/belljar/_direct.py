"""A connection for lone calls, which the threads that submit and wait for them use themselves.

A call that goes by the loop's thread wakes that thread, which wakes the caller's again: twice a tenth of a
millisecond and more, where the processors have fallen asleep meanwhile. So a call that nothing else is
waiting to travel with is sent by the thread that submits it, and its answer is read by the thread that waits
for its result. Whatever is not simple goes to the loop: answers that nobody waits for, tasks that have not
ended yet, and every failure, to be sent again under the same key.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import sys
import threading
from concurrent.futures import InvalidStateError
from typing import Any, Callable, NamedTuple, Optional, Protocol, Union

from ._answer import Answers, Response
from ._calls import Call, PendingCall, finish
from ._http import Address, Request
from ._packed import Packed, loads

# A longer wait is the loop's, so that others can end it.
WAIT_SECONDS = 0.05
# An answer that has not come within one round or two never will, and a connection unused for as long is closed.
_ROUND_SECONDS = 15.0
_RECEIVE_BYTES = 64 * 1024
# Where any thread can start and stop the loop watching a socket.
IS_POSSIBLE = sys.platform == "linux"


class Exchange(NamedTuple):
    """A call under way, with what was sent."""

    call: Call
    body: Union[bytes, Packed]


class Engine(Protocol):
    """What takes over, on the loop."""

    def accept(self, batch: list[Call], task_ids: list[str], ended: list[dict[str, Any]]) -> None:
        """The service has these tasks, of which some have ended."""

    def repeat(self, call: Call, body: Union[bytes, Packed]) -> None:
        """It is not known whether the service has this call."""

    def direct_is_free(self) -> None:
        """Nothing is under way. Called from any thread."""


class Direct:
    """Carries one call at a time. `take` and `wait` are for any thread, everything else is for the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, engine: Engine) -> None:
        self._loop = loop
        self._address = address
        self._engine = engine
        self._lock = threading.RLock()
        self._connection: Optional[_Connection] = None
        # What is under way, until its future or the engine knows of the answer; and while that is still unread.
        self._exchange: Optional[Exchange] = None
        self._awaited: Optional[Exchange] = None
        self._round: Optional[asyncio.TimerHandle] = None
        self._taken = self._taken_before = 0

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return self._exchange is not None

    @property
    def is_ready(self) -> bool:
        """Whether it could take a call."""
        return self._connection is not None and self._exchange is None

    # From any thread.

    def take(self, call: Call, body: Union[bytes, Packed]) -> bool:
        """Sends a call, unless another is under way."""
        request = self._address.request("POST", "/v1/tasks", body, call.headers)
        with self._lock:
            if self._connection is None or self._exchange is not None:
                return False
            exchange = self._exchange = self._awaited = Exchange(call, body)
            try:
                self._connection.send(request)
            except BlockingIOError:  # It is not connected yet.
                self._exchange = self._awaited = None
                return False
            except OSError:
                self._fail(exchange)
            except BaseException:
                self._fail(exchange)
                raise
            self._taken += 1
        return True

    def wait(self, pending: PendingCall) -> None:
        """Reads the answer that somebody waits for on this thread, unless another reads; not for long."""
        exchange = self._awaited
        if exchange is not None and exchange.call.pending is pending:
            self._read(exchange, is_patient=True)

    def _read(self, exchange: Exchange, is_patient: bool) -> None:
        connection = self._begin_reading(exchange)
        if connection is None:
            return
        try:
            response = connection.receive(is_patient)
            if response is not None:
                self._answered(exchange, response)
        except (OSError, ValueError):
            self._fail(exchange)
        except BaseException:  # Ctrl-C, with who knows how much of the answer read.
            self._fail(exchange)
            raise
        finally:
            self._end_reading(connection)

    def _begin_reading(self, exchange: Exchange) -> Optional[_Connection]:
        with self._lock:
            connection = self._connection
            if connection is None or connection.is_read or self._awaited is not exchange:
                return None
            connection.is_read = True
            connection.ignore()
            return connection

    def _end_reading(self, connection: _Connection) -> None:
        with self._lock:
            connection.is_read = False
            if connection is not self._connection:
                connection.close()  # It could not be while it was read.
            elif self._awaited is not None:
                # Also where it is the next call's already, whose answer nobody could read so far.
                connection.watch()

    def _answered(self, exchange: Exchange, response: Response) -> None:
        if response.status != 200 or response.is_last:
            self._fail(exchange)
            return
        reply = loads(response.body)
        task_ids, ended = reply["task_ids"], reply.get("results", [])
        call, pending = exchange.call, exchange.call.pending
        # Callbacks may take locks that this thread holds.
        if not ended or ended[0]["status"] == "CANCELLED" or pending.done() or pending.has_callbacks:
            self._give_to_loop(exchange, lambda: self._engine.accept([call], task_ids, ended))
            return
        pending.task_id = task_ids[0]
        try:
            finish(pending, ended[0])
        except InvalidStateError:
            pass  # Cancelled meanwhile.
        self._free(exchange)

    def _fail(self, exchange: Exchange) -> None:
        """Has the loop send it again."""

        def repeat() -> None:
            self._disconnect()
            self._engine.repeat(exchange.call, exchange.body)

        self._give_to_loop(exchange, repeat)

    def _give_to_loop(self, exchange: Exchange, work: Callable[[], None]) -> None:
        def take_over() -> None:
            if self._exchange is exchange:  # Else another was faster.
                work()
                self._free(exchange)

        with self._lock:
            if self._exchange is not exchange:
                return
            self._awaited = None
        self._loop.call_soon_threadsafe(take_over)

    def _free(self, exchange: Exchange) -> None:
        with self._lock:
            if self._exchange is exchange:
                self._exchange = self._awaited = None
        self._engine.direct_is_free()

    # On the loop.

    def connect(self, family: int, peer: Any) -> None:
        """Makes it ready for the next call, if that is not so yet."""
        if self._connection is None:
            self._connection = _Connection(family, peer, self._loop, self._readable)
            self._round = self._loop.call_later(_ROUND_SECONDS, self._check_round)

    def _readable(self) -> None:
        exchange = self._awaited
        if exchange is not None:
            self._read(exchange, is_patient=False)

    def _check_round(self) -> None:
        """Handles what no event reports."""
        with self._lock:
            was_used, self._taken_before = self._taken != self._taken_before, self._taken
            if was_used:
                self._round = self._loop.call_later(_ROUND_SECONDS, self._check_round)
                return
            late = self._exchange
            self._close_connection()
        if late is not None:
            self._give_to_loop(late, lambda: self._engine.repeat(late.call, late.body))

    def _disconnect(self) -> None:
        with self._lock:
            self._close_connection()

    def _close_connection(self) -> None:
        if self._round is not None:
            self._round.cancel()
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None

    def close(self) -> None:
        """Closes the connection, whatever is under way."""
        self._exchange = self._awaited = None
        self._disconnect()


class _Connection:
    """A connected socket, which the loop watches only when told to."""

    def __init__(self, family: int, peer: Any, loop: asyncio.AbstractEventLoop, on_readable: Callable[[], None]) -> None:
        self._loop = loop
        self._on_readable = on_readable
        self.is_read = False
        self._answers = Answers()
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # As an option of the socket, not by its `settimeout`, which costs two more system calls for each call.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 0, int(WAIT_SECONDS * 1e6)))
        self._socket.setblocking(False)
        self._socket.connect_ex(peer)
        self._socket.setblocking(True)
        # One poll within another: this one may be changed by any thread while the loop waits in its own.
        self._poll = select.epoll()
        self._poll.register(self._socket, 0)
        loop.add_reader(self._poll, self._wake)

    def send(self, request: Request) -> None:
        """Sends a request. What there is no room for at once waits, but not for long."""
        sent = self._socket.sendmsg(request, (), socket.MSG_DONTWAIT)
        try:
            for piece in request:
                if sent < len(piece):
                    self._socket.sendall(memoryview(piece)[sent:])
                sent = max(sent - len(piece), 0)
        except BlockingIOError:
            raise ConnectionError("the service does not read") from None
        self.watch()

    def receive(self, is_patient: bool) -> Optional[Response]:
        """An answer, if it is whole by now, or within some milliseconds."""
        flags = 0 if is_patient else socket.MSG_DONTWAIT
        try:
            while True:
                room = self._answers.room()
                if room is None:
                    data = self._socket.recv(_RECEIVE_BYTES, flags)
                    count, response = len(data), self._answers.feed(data) if data else None
                else:
                    # All of it with one call, where it comes in time.
                    count = self._socket.recv_into(room, 0, flags or socket.MSG_WAITALL)
                    response = self._answers.filled(count) if count else None
                if count == 0:
                    raise ConnectionResetError("the service closed the connection")
                # The rest of a large one follows at once.
                if response is not None or not self._answers.has_room:
                    return response
        except BlockingIOError:
            return None

    def watch(self) -> None:
        """Has the loop told once when there is something to read."""
        self._poll.modify(self._socket, select.EPOLLIN | select.EPOLLONESHOT)

    def ignore(self) -> None:
        """Leaves the loop alone."""
        self._poll.modify(self._socket, 0)

    def _wake(self) -> None:
        if self._poll.poll(0):  # Else another was faster.
            self._on_readable()

    def abandon(self) -> None:
        """Ends it, for the loop. A thread that reads it hears of that, and closes it: before, its descriptor could
        become another's, which the thread would read then."""
        self._loop.remove_reader(self._poll)
        self._poll.close()
        if self.is_read:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()

    def close(self) -> None:
        """Closes it."""
        self._socket.close()
