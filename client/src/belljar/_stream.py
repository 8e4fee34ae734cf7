"""Follows a task: what it writes and how far it has come, as the service tells it by server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, AsyncIterator, Mapping, NamedTuple, Optional

from ._errors import AccessDenied, ServiceUnreachable, service_error
from ._records import Progress, TaskEvent

if TYPE_CHECKING:
    from ._service import Service

# The service says something at least every 15 seconds.
_SILENCE = 60.0
_PAUSE = 0.5
_LIMIT_LINE = 1 << 20
_OUTPUT = ("stdout", "stderr")
# A proxy without a gateway, a gateway without its store.
_LATER = (502, 503, 504)


async def follow(service: Service, task_id: str) -> AsyncIterator[TaskEvent]:
    """The events of a task, up to its end. A connection that breaks is made again, and goes on where it was."""
    place = ""
    await service.show_key()
    while True:
        events = _events(service, task_id, place)
        try:
            async for event in events:
                place = event.place or place
                told = _told(event.name, event.data)
                if told is not None:
                    yield told
                if event.name == "end":
                    return
        except (OSError, EOFError, asyncio.TimeoutError, ServiceUnreachable):
            pass  # Said below, where the service is gone.
        except AccessDenied as error:
            if error.status != 401:
                raise
            # Said below as well, where there is no other key.
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(_PAUSE)
        # This waits for a service that restarts, and knows when to give up.
        await service.status(task_id)


class _Event(NamedTuple):
    name: str
    place: str
    data: Mapping[str, Any]


def _told(name: str, data: Mapping[str, Any]) -> Optional[TaskEvent]:
    if name in _OUTPUT:
        return TaskEvent(name, text=data["text"], skipped=data.get("skipped", 0))
    if name == "progress":
        return TaskEvent(name, progress=Progress(data["done"], data.get("total"), data.get("note", "")))
    if name == "attempt":
        return TaskEvent(name, attempt=data["attempt"])
    if name == "end":
        return TaskEvent(name, status=data["status"])
    return None  # The service may come to tell more.


async def _events(service: Service, task_id: str, place: str) -> AsyncIterator[_Event]:
    address = service.address
    headers = f"Last-Event-ID: {place}\r\n" if place else ""
    (request,) = address.request("GET", f"/v1/tasks/{task_id}/output", None, headers)
    opening = asyncio.open_connection(address.host, address.port, ssl=address.tls, limit=_LIMIT_LINE)
    reader, writer = await asyncio.wait_for(opening, _SILENCE)
    try:
        writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SILENCE)).lower()
        status = int(head[9:12])
        pieces = _pieces(reader, is_chunked=b"\r\ntransfer-encoding: chunked" in head)
        if status >= 300:
            await _refuse(status, reader, head)
        rest = b""
        async for piece in pieces:
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                event = _read(block.decode())
                if event is not None:
                    yield event
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _refuse(status: int, reader: asyncio.StreamReader, head: bytes) -> None:
    """Raises what an answer says is wrong."""
    length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
    body = await asyncio.wait_for(reader.readexactly(int(length or 0)), _SILENCE)
    try:
        reply = json.loads(body)
    except ValueError:
        reply = None  # Not from the gateway: a proxy's page.
    error = service_error(status, reply, 0.0)
    if status in _LATER:
        raise ServiceUnreachable(str(error))
    raise error


async def _pieces(reader: asyncio.StreamReader, *, is_chunked: bool) -> AsyncIterator[bytes]:
    while True:
        if not is_chunked:
            piece = await asyncio.wait_for(reader.read(_LIMIT_LINE), _SILENCE)
        else:
            size = int((await asyncio.wait_for(reader.readline(), _SILENCE)).partition(b";")[0] or b"0", 16)
            piece = (await asyncio.wait_for(reader.readexactly(size + 2), _SILENCE))[:size]
        if not piece:
            return
        yield piece


def _read(block: str) -> Optional[_Event]:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
    if "event" not in fields:
        return None
    return _Event(fields["event"], fields.get("id", ""), json.loads(fields.get("data", "{}")))
