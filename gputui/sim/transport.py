"""An httpx transport that calls an ASGI app in-process, and lets connections break and time out as on a real network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx

from gputui.sim.gate import CUT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message


def asgi_transport(app: ASGIApp) -> httpx.AsyncBaseTransport:
    """Return a transport for `ClientContext.transport` that reaches `app` without a socket, in real or virtual time.

    The client's read timeout is kept. As with a real server, a request that the client gave up on goes on by itself. An
    answer sent in pieces reaches the client piece by piece; the app sees it disconnect when it closes the answer early.
    """
    return _AsgiTransport(app)


class _AsgiTransport(httpx.AsyncBaseTransport):
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(await request.aread())
        task = asyncio.create_task(self._serve(request, exchange))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        timeout_s = request.extensions.get("timeout", {}).get("read")
        waited: set[asyncio.Future[Any]] = {task, exchange.cut, exchange.streams}
        is_streamed = False
        try:
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exchange.cut.done():
                if exchange.cut.result():
                    raise httpx.ConnectError("connection refused", request=request)
                raise httpx.ReadError("connection reset", request=request)
            is_streamed = exchange.streams.done()
            if not is_streamed and not task.done():
                raise httpx.ReadTimeout("no answer in time", request=request)
        finally:
            if not is_streamed:
                exchange.drop(refused=False)
        if is_streamed:
            body = _StreamedBody(request, exchange, task, timeout_s)
            return httpx.Response(exchange.status, headers=exchange.headers, stream=body)
        task.result()
        return httpx.Response(exchange.status, headers=exchange.headers, content=bytes(exchange.content))

    async def _serve(self, request: httpx.Request, exchange: _Exchange) -> None:
        await self._app(_scope(request, exchange), exchange.receive, exchange.send)


class _StreamedBody(httpx.AsyncByteStream):
    """The body of an answer as it comes. Each piece has the read timeout for itself."""

    def __init__(
        self, request: httpx.Request, exchange: _Exchange, task: asyncio.Task[None], timeout_s: float | None
    ) -> None:
        self._request = request
        self._exchange = exchange
        self._task = task
        self._timeout_s = timeout_s
        task.add_done_callback(lambda _: exchange.pieces.put_nowait(None))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    piece = await self._exchange.pieces.get()
            except TimeoutError:
                raise httpx.ReadTimeout("no more of the answer in time", request=self._request) from None
            if piece is not None:
                yield piece
            elif self._exchange.cut.done():
                raise httpx.ReadError("connection reset", request=self._request)
            else:
                if self._task.done():
                    self._task.result()
                return

    async def aclose(self) -> None:
        self._exchange.drop(refused=False)


class _Exchange:
    """One request and its answer as the app sees them."""

    def __init__(self, body: bytes) -> None:
        self.cut: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.streams: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.content = bytearray()
        self._body: bytes | None = body

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.shield(self.cut)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self._receive_body(message.get("body", b""), more=message.get("more_body", False))

    def drop(self, refused: bool) -> None:
        if not self.cut.done():
            self.cut.set_result(refused)
            self.pieces.put_nowait(None)

    def _receive_body(self, piece: bytes, *, more: bool) -> None:
        if more and not self.streams.done():
            self.streams.set_result(None)
        if not self.streams.done():
            self.content += piece
        elif piece:
            self.pieces.put_nowait(piece)
        if not more:
            self.pieces.put_nowait(None)


def _scope(request: httpx.Request, exchange: _Exchange) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": ("127.0.0.1", 0),
        "extensions": {CUT: exchange.drop},
    }
