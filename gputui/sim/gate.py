"""The front door of every simulated provider: finds the endpoint, and lets faults happen before and after it.

A provider brings its endpoints and the shape of its errors; everything that can go wrong on the way to and from any HTTP
API is done here, once. Connection faults need the server's help: it puts a function under `CUT` in the ASGI scope's
extensions, which drops the connection without an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from gputui.sim.world import World

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

CUT = "gputui.cut"

_HTML = b"<!DOCTYPE html>\n<html><head><title>Please wait</title></head><body><h1>One moment</h1></body></html>\n"
_HTML_TYPE = {"content-type": "text/html; charset=utf-8"}
_REFUSALS = (
    ("rate_limited", 429, "RATE_LIMITED", "too many requests"),
    ("rate_limited_silent", 429, "RATE_LIMITED", "too many requests"),
    ("server_error", 500, "INTERNAL", "internal error"),
    ("bad_gateway", 502, "BAD_GATEWAY", "the upstream provider is unavailable for a moment"),
    ("unavailable", 503, "UNAVAILABLE", "down for maintenance"),
    ("unauthorized", 401, "UNAUTHORIZED", "invalid key"),
)
_STRANGE = {"shard": 3, "trace": {"hops": [1, None, "edge"]}}


class ApiError(Exception):
    """An error the API answers on purpose: HTTP status, the provider's own code where it has one, and a sentence."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


class Keyed(dict[str, Any]):
    """A JSON object whose names are data (ids, say), not fields: no fault adds a field to it, only to what it holds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers. `payload` is JSON, or raw bytes to be sent as they are; None is an empty body.

    Where there is a `stream`, the body is what it yields, as it yields it, until it ends or the client has left.
    """

    payload: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through an endpoint. `operation` is "<provider>.<name>", `path` the path's parameters."""

    world: World
    operation: str
    request: Request
    path: Mapping[str, str]
    body: bytes

    def fires(self, knob: str) -> bool:
        """Say whether a chance hits this call."""
        return self.world.faults.fires(knob, self.operation)

    def query(self, name: str) -> str | None:
        """Return a query parameter, None when absent or empty."""
        return self.request.query_params.get(name) or None


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and path template ("/deployments/{id}"), the operation's name for faults, and what answers it."""

    method: str
    path: str
    operation: str
    handler: Handler


class Cut(Exception):
    """The connection is to be dropped, in the middle of a stream too; `refused` as if it had never been accepted."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused


class ProviderApp:
    """The ASGI app of one provider. Endpoints are tried in order, so literal paths go before templates."""

    def __init__(
        self,
        world: World,
        provider: str,
        base_path: str,
        endpoints: Sequence[Endpoint],
        *,
        error: Callable[[ApiError], Answer],
        request_id_header: str,
    ) -> None:
        self._world = world
        self._provider = provider
        self._error = error
        self._request_id_header = request_id_header
        self._endpoints = [(item, _pattern(base_path + item.path)) for item in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request
        from starlette.responses import Response

        if scope["type"] != "http":
            return
        self._world.requests += 1
        request_id = f"req-{self._world.requests:08d}"
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
            headers = {"content-type": "application/json", **answer.headers, self._request_id_header: request_id}
            if answer.stream is not None:
                await _send_stream(answer.stream, answer.status, headers, receive, send)
                return
        except Cut as cut:
            await _drop(scope, receive, refused=cut.refused)
            return
        response = Response(_encoded(answer.payload), status_code=answer.status, headers=headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Answer:
        for endpoint, pattern in self._endpoints:
            found = pattern.fullmatch(request.url.path) if endpoint.method == request.method else None
            if found:
                operation = f"{self._provider}.{endpoint.operation}"
                call = Call(self._world, operation, request, found.groupdict(), await request.body())
                return await self._with_faults(call, endpoint.handler)
        return self._error(ApiError(404, "NOT_FOUND", f"no route for {request.method} {request.url.path}"))

    async def _with_faults(self, call: Call, handler: Handler) -> Answer:
        answer = await self._refuse(call)
        if answer is not None:
            return answer
        try:
            answer = await handler(call)
        except ApiError as error:
            answer = self._error(error)
        return await self._spoil(call, answer)

    async def _refuse(self, call: Call) -> Answer | None:
        """Return the answer of a request that a fault keeps from taking effect, None to go on. Raises Cut."""
        faults = self._world.faults
        if call.fires("connect_error"):
            raise Cut(refused=True)
        if call.fires("cut_before"):
            raise Cut
        if call.fires("timeout_before"):
            await self._hang(call)
        delay_s = faults.number("latency_s") + (faults.number("slow_s") if call.fires("slow") else 0.0)
        if delay_s:
            await asyncio.sleep(delay_s)
        for knob, status, code, text in _REFUSALS:
            if call.fires(knob):
                answer = self._error(ApiError(status, code, text))
                wait = {"retry-after": f"{faults.number('retry_after_s'):g}"} if knob == "rate_limited" else {}
                return replace(answer, headers={**answer.headers, **wait})
        return Answer(_HTML, 503, _HTML_TYPE) if call.fires("html_error") else None

    async def _spoil(self, call: Call, answer: Answer) -> Answer:
        """Return what is left of an answer after the faults that let the request take effect. Raises Cut."""
        if call.fires("lost_reply"):
            raise Cut
        if call.fires("timeout_after"):
            await self._hang(call)
        if call.fires("server_error_after_commit"):
            return self._error(ApiError(500, "INTERNAL", "internal error"))
        if call.fires("html_ok"):
            return Answer(_HTML, 200, _HTML_TYPE)
        if call.fires("extra_fields"):
            answer = replace(answer, payload=_with_strange_fields(answer.payload))
        if call.fires("truncated_json"):
            body = _encoded(answer.payload)
            answer = replace(answer, payload=body[: len(body) // 2])
        return answer

    async def _hang(self, call: Call) -> NoReturn:
        """Say nothing until the client gives up, or for hang_s, then drop the connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._world.faults.number("hang_s")):
                await _disconnected(call.request.receive)
        raise Cut


async def _send_stream(
    stream: AsyncIterator[bytes], status: int, headers: Mapping[str, str], receive: Receive, send: Send
) -> None:
    """Send what a stream yields until it ends or the client leaves. Raises Cut when the stream does."""

    async def send_chunks() -> None:
        async for chunk in stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    # The head alone says nothing to the client before the first bytes of a body, which may be long in coming.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    sending, leaving = asyncio.create_task(send_chunks()), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.wait({sending, leaving})
    if not sending.cancelled():
        sending.result()


async def _drop(scope: Scope, receive: Receive, *, refused: bool) -> None:
    """Have the server drop the connection, and return once it has, so that it sends nothing of its own."""
    scope["extensions"][CUT](refused)
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


def _encoded(payload: Any) -> bytes:
    if payload is None:
        return b""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def _with_strange_fields(payload: Any) -> Any:
    if isinstance(payload, list):
        return [_with_strange_fields(item) for item in payload]
    if isinstance(payload, Keyed):
        return Keyed({name: _with_strange_fields(value) for name, value in payload.items()})
    if isinstance(payload, dict):
        return {**{name: _with_strange_fields(value) for name, value in payload.items()}, "x_internal": _STRANGE}
    return payload
