"""The service's routes, over a few kept-alive connections, with retries.

Every request here may be repeated: submissions carry an idempotency key, and the others ask or say the
same thing twice. So an answer that does not come, or says "later", is simply asked for again.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from binascii import b2a_base64
from typing import Any, Mapping, Optional, Sequence, Union, cast
from urllib.parse import quote, urlencode

from ._access import Access
from ._answer import Response
from ._errors import ServiceError, ServiceUnreachable, service_error
from ._http import Address, Connection, Request, connect
from ._packed import Packed, loads

# Statuses that mean "later": a proxy without a gateway, a gateway without its store, a full queue, a quota.
_LATER = frozenset((408, 429, 502, 503, 504))
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 2.0
# How long an answer may take beyond what the service was asked to wait.
_ANSWER_TIMEOUT = 30.0
_IDLE_KEPT = 6
# Values go in pieces of so many bytes: an answer that is lost costs no more than one.
_PIECE_BYTES = 8 << 20


class Service:
    """One service, for one event loop."""

    def __init__(
        self, address: Address, access: Optional[Access] = None, *, connect_timeout: float, retry_timeout: float
    ) -> None:
        self.address = address
        self._access = access or Access(address.url)
        self._connect_timeout = connect_timeout
        self._retry_timeout = retry_timeout
        self._idle: list[Connection] = []
        self._has_answered = False

    @property
    def url(self) -> str:
        """Where it is."""
        return self.address.url

    def peer(self) -> Optional[tuple[int, Any]]:
        """The family and the address of a socket that is connected to it."""
        return next((connection.peer() for connection in self._idle if connection.is_open), None)

    async def register(self, fields: Mapping[str, Any]) -> str:
        """Registers a function and returns its id."""
        body = Packed(fields) if isinstance(fields["payload"], bytes) else json.dumps(fields).encode()
        reply = await self.ask("POST", "/register_function", body)
        return cast(str, reply["function_id"])

    async def submit(
        self, body: Union[bytes, Packed], wait: float, headers: str = ""
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """Submits a batch; the ids of its tasks, and the results of those that ended while it waited."""
        reply = loads((await self._answer("POST", "/v1/tasks", body, wait, headers)).body)
        return reply["task_ids"], reply.get("results", [])

    async def results(self, task_ids: Sequence[str], wait: float, keep: bool = False) -> list[dict[str, Any]]:
        """Those of some tasks that have ended; waits for the first. With `keep` what calls have returned is left there."""
        # Ids need no escaping, and this is the one request whose body can be long.
        listed = '","'.join(task_ids)
        body = f'{{"task_ids":["{listed}"],"wait":{wait:g}}}'
        path = "/v1/results?keep=true" if keep else "/v1/results"
        return cast("list[dict[str, Any]]", (await self.ask("POST", path, body.encode(), wait))["results"])

    async def upload(self, value: bytes, sha256: bytes) -> str:
        """Uploads a value, in pieces where it is large, and returns its id. What is there already is not sent again."""
        digest = f"Repr-Digest: sha-256=:{b2a_base64(sha256, newline=False).decode()}:\r\n"
        if len(value) <= _PIECE_BYTES:
            return cast(str, loads((await self._answer("PUT", "/v1/blobs", value, 0.0, digest)).body)["blob_id"])
        offset: Optional[int] = None
        pause = _FIRST_PAUSE
        while True:
            piece = b"" if offset is None else bytes(memoryview(value)[offset : offset + _PIECE_BYTES])
            place = "*" if offset is None else f"{offset}-{offset + len(piece) - 1}"
            headers = f"{digest}Content-Range: bytes {place}/{len(value)}\r\n"
            try:
                answer = loads((await self._answer("PUT", "/v1/blobs", piece, 0.0, headers)).body)
            except ServiceError as error:
                if error.code not in ("upload_offset", "upload_busy") or pause > self._retry_timeout:
                    raise
                # An answer was lost, or somebody else uploads the same.
                offset = None
                await asyncio.sleep(pause)
                pause *= 2
                continue
            if "sha256" in answer:
                return cast(str, answer["blob_id"])
            offset = int(answer["received"])

    async def download(self, blob_id: str) -> bytes:
        """An uploaded value."""
        value = bytearray()
        while True:
            headers = f"Range: bytes={len(value)}-{len(value) + _PIECE_BYTES - 1}\r\n"
            answer = await self._answer("GET", f"/v1/blobs/{blob_id}", headers=headers)
            value += answer.body
            if len(answer.body) < _PIECE_BYTES:
                return bytes(value)

    async def delete_value(self, blob_id: str) -> None:
        """Has an uploaded value forgotten."""
        await self.ask("DELETE", f"/v1/blobs/{blob_id}")

    async def status(self, task_id: str, wait: float = 0.0) -> str:
        """Where a task stands, or will once it has ended."""
        return cast(str, (await self.ask("GET", f"/status/{task_id}?wait={wait:g}", wait=wait))["status"])

    async def record(self, task_id: str) -> dict[str, Any]:
        """The whole record of a task."""
        return cast("dict[str, Any]", await self.ask("GET", f"/v1/tasks/{task_id}"))

    async def files(self, task_id: str) -> dict[str, bytes]:
        """The files that a task has left, by name."""
        entries = (await self.record(task_id)).get("files", ())
        names = [str(entry["name"]) for entry in entries]
        paths = {name: f"/v1/tasks/{task_id}/files/{quote(name, '')}" for name in names}
        return {name: bytes((await self._answer("GET", path)).body) for name, path in paths.items()}

    async def cancel(self, task_id: str) -> str:
        """Cancels a task and returns the status that it has then."""
        try:
            return cast(str, (await self.ask("POST", f"/v1/tasks/{task_id}/cancel"))["status"])
        except ServiceError as error:
            if error.code != "task_ended":
                raise
            return await self.status(task_id)

    async def page(self, path: str, **query: Any) -> dict[str, Any]:
        """One page of a list."""
        words = {name: value for name, value in query.items() if value is not None}
        return cast("dict[str, Any]", await self.ask("GET", f"{path}?{urlencode(words)}"))

    async def ask(self, method: str, path: str, body: Union[bytes, Packed, None] = None, wait: float = 0.0) -> Any:
        """Sends a request until it is answered; raises what the answer says is wrong."""
        return loads((await self._answer(method, path, body, wait)).body)

    async def _answer(
        self,
        method: str,
        path: str,
        body: Union[bytes, Packed, None] = None,
        wait: float = 0.0,
        headers: str = "",
    ) -> Response:
        if self._access.is_pending:
            await self._renew(None)
        shown, request = self._access.key, self.address.request(method, path, body, headers)
        pause, give_up, was_renewed = _FIRST_PAUSE, None, False
        now = asyncio.get_running_loop().time
        while True:
            try:
                response = await self._exchange(request, wait + _ANSWER_TIMEOUT)
                self._has_answered = True
                if response.status < 300:
                    return response
                if response.status == 401 and not was_renewed and await self._renew(shown):
                    was_renewed, request = True, self.address.request(method, path, body, headers)
                    continue
                failure = _refusal(response)
                later = response.retry_after if response.status == 429 else 0.0
                if response.status not in _LATER:
                    raise failure
            except ssl.SSLCertVerificationError as error:
                raise ServiceUnreachable(f"{self.url} cannot be trusted: {error.verify_message}") from error
            except ssl.SSLError as error:
                raise ServiceUnreachable(f"{self.url} does not speak TLS; hint: try http:// instead of https://") from error
            except OSError as error:
                failure = ServiceUnreachable(self._unreachable(error))
                failure.__cause__ = error
                later = 0.0
            # Who has never answered is more likely misspelt than restarting.
            patience = self._retry_timeout if self._has_answered else min(self._connect_timeout, self._retry_timeout)
            give_up = give_up or now() + patience
            # What a quota allows is known to the service; the others are there again when they are.
            if now() + max(pause, later) > give_up:
                raise failure
            await asyncio.sleep(max(pause, later))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def show_key(self) -> None:
        """Gets the key that requests show, where that was not done yet."""
        if self._access.is_pending:
            await self._renew(None)

    async def _renew(self, refused: Optional[str]) -> bool:
        """Gets another key than the one that was refused, if there is one."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(None, self._access.renew, refused)
        except RuntimeError:  # The interpreter is ending: there are no more threads.
            return self._access.renew(refused)
        return await reading

    def _unreachable(self, error: OSError) -> str:
        hint = "" if self._has_answered else "; hint: `belljar up` starts a service, BELLJAR_URL or url=... names one"
        return f"{self.url} does not answer: {error}{hint}"

    async def _exchange(self, request: Request, timeout: float) -> Response:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                try:
                    return await self._over(connection, request, timeout)
                except ConnectionResetError:
                    continue  # The service had closed it between two requests.
        return await self._over(await connect(self.address, self._connect_timeout), request, timeout)

    async def _over(self, connection: Connection, request: Request, timeout: float) -> Response:
        response = await connection.exchange(request, timeout)
        if connection.is_open:
            if len(self._idle) < _IDLE_KEPT:
                self._idle.append(connection)
            else:
                connection.close()
        return response

    def close(self) -> None:
        """Closes the idle connections; those in use close with their requests."""
        while self._idle:
            self._idle.pop().close()


def _refusal(response: Response) -> ServiceError:
    try:
        reply = json.loads(response.body)
    except ValueError:
        reply = None  # Not from the gateway: a proxy's page.
    return service_error(response.status, reply, response.retry_after)
