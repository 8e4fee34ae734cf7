"""Sends calls and collects their results, on one event loop.

What waits goes out: while one batch is under way, calls gather for the next, so that a batch is as large
as the load makes it and a lone call is not held back. Results are collected by long polls, a few at once,
each for tasks of its own, so that quick tasks are not held up by slow ones and no poll is cut short for
every new task.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from os import urandom
from typing import Any, Coroutine, Iterable, Optional, Union

from ._calls import Call, FunctionRef, Options, PendingCall
from ._collector import Collector
from ._direct import IS_POSSIBLE, Direct
from ._errors import ServiceError
from ._packed import Packed
from ._pickling import encode
from ._service import Service
from ._values import referring, sha256

# The service takes 10,000 calls at once, but more than so many in parts, so that other clients wait less; and smaller
# batches let workers begin while the rest is prepared.
_BATCH_CALLS = 256
_BATCH_CHARACTERS = 4 << 20
# A few calls wait for their results in the exchange that submits them: a lone quick call is one exchange
# then, not two. Not for long, as their ids are known only afterwards, and not many at once.
_JOINED_CALLS = 8
_JOINED_WAIT = 0.02
_JOINED_AT_ONCE = 2
# What is larger is uploaded first: a request has 32 MiB at most, unless the operator says otherwise.
_UPLOADED_BYTES = 24 << 20
# Who submits a call waits until the service has read it: for so much at most.
_DIRECT_BYTES = 4 << 20


class Engine:
    """The calls of one executor. `add` may be called from any thread if `is_threaded`, everything else on
    the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, service: Service, *, is_threaded: bool) -> None:
        self._loop = loop
        self._service = service
        self._call_soon = loop.call_soon_threadsafe if is_threaded else loop.call_soon
        self._queue: deque[Call] = deque()
        self._sender: Optional[asyncio.Task[None]] = None
        self._is_woken = False
        self._functions: dict[bytes, str] = {}
        self._runtimes: dict[bytes, str] = {}
        self._collector = Collector(loop, service, self._check_idle)
        # Of calls whose results stay with the service.
        self._keeper = Collector(loop, service, self._check_idle, keep=True)
        self._idle: list[asyncio.Future[None]] = []
        self._flushed: list[asyncio.Future[None]] = []
        self._joined: set[asyncio.Task[None]] = set()
        self._cancels: set[asyncio.Task[None]] = set()
        # Calls that wait for the results of others.
        self._held: set[PendingCall] = set()
        has_direct = is_threaded and IS_POSSIBLE and service.address.tls is None
        self._direct = Direct(loop, service.address, self) if has_direct else None

    # From any thread.

    def add(self, call: Call) -> Optional[Direct]:
        """Has a call sent; returns where the calling thread may await the answer itself."""
        if self._direct is not None and self._direct.is_ready and self._is_alone(call):
            if self._direct.take(call, _body(self._functions[call.function.key], [call], _JOINED_WAIT)):
                return self._direct
        self._queue.append(call)
        # Waking the loop costs a system call: once for all calls that it has not taken yet. Set before
        # it is taken, cleared before the queue is: no call is left lying.
        if not self._is_woken:
            self._is_woken = True
            self._call_soon(self._wake)
        return None

    def _is_alone(self, call: Call) -> bool:
        """Whether there is nothing that a call could travel with."""
        is_quiet = self._sender is None and not self._is_woken
        is_plain = not call.options.keep and call.options.session is None
        return is_quiet and is_plain and call.function.key in self._functions and len(call.payload) <= _DIRECT_BYTES

    def hold(self, pending: PendingCall) -> None:
        """A call will be added later; until then there is something to wait for."""
        self._held.add(pending)

    def release(self, pending: PendingCall) -> None:
        """It has been added, or never will be."""
        self._held.discard(pending)
        if self._flushed or self._idle:
            self._call_soon(self._check_idle)

    def direct_is_free(self) -> None:
        """For the direct connection: nothing is under way there."""
        if self._flushed or self._idle:
            self._call_soon(self._check_idle)

    # On the loop.

    def _wake(self) -> None:
        if self._sender is not None:
            return  # Which takes what waits when it is done with what it has.
        self._is_woken = False
        batches = list(_batches(_take(self._queue)))
        if len(batches) == 1 and self._may_join(batches[0]):
            self._join(batches[0])
        else:
            self._sender = self._loop.create_task(self._send(batches))

    def watch(self, task_id: str, pending: PendingCall) -> None:
        """Collects the result of a task that was submitted before."""
        pending.task_id = task_id
        self._collector.add([(task_id, pending)])

    async def cancel(self, pending: PendingCall) -> bool:
        """Cancels a call; whether it will have no result."""
        if pending.done():
            return pending.cancelled()
        if pending.task_id is None:
            # One that is under way already is cancelled as soon as its id is known.
            pending.ended_cancelled()
            self.release(pending)
            return pending.cancelled()
        is_cancelled = await self._service.cancel(pending.task_id) == "CANCELLED"
        if is_cancelled and not pending.done():
            pending.ended_cancelled()
        return is_cancelled

    async def cancel_all(self) -> None:
        """Cancels every call that has not ended."""
        while self._held:
            self._held.pop().ended_cancelled()
        for call in self._queue:
            if not call.pending.done():
                call.pending.ended_cancelled()
        await self.flush()
        for pending in [*self._collector.pending(), *self._keeper.pending()]:
            await self.cancel(pending)

    def cancel_soon(self, task_id: str) -> None:
        """Cancels a task that nobody waits for any more."""
        task = self._loop.create_task(self._cancel_task(task_id))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def _cancel_task(self, task_id: str) -> None:
        try:
            await self._service.cancel(task_id)
        except ServiceError:
            pass  # Nobody is there to be told, and the task ends by itself.

    async def flush(self) -> None:
        """Waits until the service has every call that was added."""
        await self._when(self._flushed)

    async def drain(self) -> None:
        """Waits until every call has ended."""
        await self._when(self._idle)

    async def _when(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter = self._loop.create_future()
        # In this order, as a thread that ends a call looks for waiters afterwards.
        waiters.append(waiter)
        self._check_idle()
        await waiter

    @property
    def _is_sending(self) -> bool:
        is_direct = self._direct is not None and self._direct.is_busy
        return bool(self._queue or self._joined or self._held) or self._sender is not None or is_direct

    def _check_idle(self) -> None:
        if self._is_sending:
            return
        _release(self._flushed)
        if not self._collector.is_busy and not self._keeper.is_busy:
            _release(self._idle)

    async def close(self) -> None:
        """Stops everything, whatever is still open, and closes all connections."""
        sender = [] if self._sender is None else [self._sender]
        tasks = [*sender, *self._joined, *self._cancels, *self._collector.stop(), *self._keeper.stop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._direct is not None:
            self._direct.close()
        self._service.close()

    async def _send(self, batches: list[list[Call]]) -> None:
        try:
            while batches:
                for batch in batches:
                    if self._may_join(batch):
                        self._join(batch)
                    else:
                        await self._send_batch(batch)
                self._is_woken = False
                batches = list(_batches(_take(self._queue)))
        finally:
            self._sender = None
            self._check_idle()

    def _may_join(self, batch: list[Call]) -> bool:
        options = batch[0].options
        # Those of a session go one behind the other.
        is_plain = not options.keep and options.session is None
        return is_plain and batch[0].function.key in self._functions and len(batch) <= _JOINED_CALLS and len(self._joined) < _JOINED_AT_ONCE

    def _join(self, batch: list[Call]) -> None:
        self._run_joined(self._send_batch(batch, _JOINED_WAIT))

    def repeat(self, call: Call, body: Union[bytes, Packed]) -> None:
        """Sends a batch of one that may have been accepted already."""
        self._run_joined(self._send_body([call], body, _JOINED_WAIT))

    def _run_joined(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._joined.add(task)
        task.add_done_callback(self._when_joined)

    def _when_joined(self, task: asyncio.Task[None]) -> None:
        self._joined.discard(task)
        self._check_idle()

    async def _send_batch(self, batch: list[Call], wait: float = 0.0) -> None:
        try:
            batch = [await self._within_body(call) for call in batch]
            body = _body(await self._function_id(batch[0].function), batch, wait)
        except Exception as error:
            _fail(batch, error)
        else:
            await self._send_body(batch, body, wait)

    async def _within_body(self, call: Call) -> Call:
        """The call; where its arguments are too large for one request, with a reference to them in their place."""
        payload = call.payload
        if len(payload) < _UPLOADED_BYTES or isinstance(payload, str):
            return call
        digest = await self._loop.run_in_executor(None, sha256, payload)
        try:
            blob_id = await self._service.upload(payload, digest)
        except ServiceError as error:
            if error.code != "no_blob_directory":
                raise
            return call  # The service says how large they may be.
        return call._replace(payload=encode(referring(f"blob:{blob_id}")))

    async def _send_body(self, batch: list[Call], body: Union[bytes, Packed], wait: float) -> None:
        try:
            task_ids, ended = await self._service.submit(body, wait, batch[0].headers)
        except Exception as error:
            _fail(batch, error)
            return
        peer = self._service.peer()
        if self._direct is not None and peer is not None and len(batch) == 1:
            self._direct.connect(*peer)
        self.accept(batch, task_ids, ended)

    def accept(self, batch: list[Call], task_ids: list[str], ended: list[dict[str, Any]]) -> None:
        """The service has this batch, of which some tasks have ended."""
        accepted = [(task_id, call.pending) for task_id, call in zip(task_ids, batch)]
        for task_id, pending in accepted:
            pending.task_id = task_id
            if pending.done():  # Cancelled on the way.
                self.cancel_soon(task_id)
        (self._keeper if batch[0].options.keep else self._collector).add(accepted, ended)

    async def _function_id(self, function: FunctionRef) -> str:
        function_id = self._functions.get(function.key)
        if function_id is None:
            function_id = await self._service.register(function.fields)
            if not function.is_runtime_known:
                # How results are read depends on it, and only the service knows its default.
                found = await self._service.page(f"/v1/functions/{function_id}")
                self._runtimes[function.key] = str(found.get("runtime", ""))
            self._functions[function.key] = function_id
        if not function.is_runtime_known:
            function.runtime = self._runtimes.get(function.key, "")
        return function_id


def _fail(batch: list[Call], error: Exception) -> None:
    for call in batch:
        if not call.pending.done():
            call.pending.set_exception(error)


def _release(waiters: list[asyncio.Future[None]]) -> None:
    while waiters:
        waiter = waiters.pop()
        if not waiter.done():
            waiter.set_result(None)


def _take(queue: deque[Call]) -> Iterable[Call]:
    """The calls that wait now and are still wanted."""
    for _ in range(len(queue)):
        try:
            call = queue.popleft()
        except IndexError:  # Dropped meanwhile.
            return
        if not call.pending.done():
            yield call


def _batches(calls: Iterable[Call]) -> Iterable[list[Call]]:
    """Groups of one function, the same options and one span, of bounded size, in the order of their first calls."""
    groups: dict[tuple[bytes, Options, str, int], list[Call]] = {}
    # Of a session, calls of one function with others between them are groups of their own: their order counts.
    last: dict[str, tuple[bytes, Options, str, int]] = {}
    for call in calls:
        key = (call.function.key, call.options, call.headers, 0)
        if call.options.session is not None:
            before = last.get(call.options.session, key)
            key = last[call.options.session] = before if before[:3] == key[:3] else (*key[:3], before[3] + 1)
        groups.setdefault(key, []).append(call)
    for group in groups.values():
        # A key that the caller chose names one task.
        most = 1 if group[0].options.idempotency_key else _BATCH_CALLS
        batch: list[Call] = []
        size = 0
        for call in group:
            if batch and (len(batch) == most or size + len(call.payload) > _BATCH_CHARACTERS):
                yield batch
                batch, size = [], 0
            batch.append(call)
            size += len(call.payload)
        yield batch


def _body(function_id: str, batch: list[Call], wait: float) -> Union[bytes, Packed]:
    """A batch. Under its key it is accepted once, however often it is sent."""
    options = batch[0].options
    payloads = [call.payload for call in batch]
    if options.has_large_files or bytes in map(type, payloads):
        fields = {"function_id": function_id, "idempotency_key": options.idempotency_key or urandom(16).hex()}
        waiting = {"wait": wait} if wait else {}
        return Packed({**fields, **waiting, **options.submission_fields, "payloads": payloads})
    key = json.dumps(options.idempotency_key) if options.idempotency_key else f'"{urandom(16).hex()}"'
    more = f'"wait":{wait},' if wait else ""
    # Payloads are base64, which like ids needs no escaping.
    listed = '","'.join(payloads)  # type: ignore[arg-type]
    more += options.submission
    return f'{{"function_id":"{function_id}","idempotency_key":{key},{more}"payloads":["{listed}"]}}'.encode()
