"""An httpx transport that calls an ASGI app in-process, and lets connections break and time out as on a real network."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from gputui.sim.gate import CUT

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message


def asgi_transport(app: ASGIApp) -> httpx.AsyncBaseTransport:
    """Return a transport for `ClientContext.transport` that reaches `app` without a socket, in real or virtual time.

    The client's read timeout is kept. As with a real server, a request that the client gave up on goes on by itself.
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
        waited: set[asyncio.Future[Any]] = {task, exchange.cut}
        try:
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exchange.cut.done():
                if exchange.cut.result():
                    raise httpx.ConnectError("connection refused", request=request)
                raise httpx.ReadError("connection reset", request=request)
            if not task.done():
                raise httpx.ReadTimeout("no answer in time", request=request)
        finally:
            exchange.drop(refused=False)
        task.result()
        return httpx.Response(exchange.status, headers=exchange.headers, content=bytes(exchange.content))

    async def _serve(self, request: httpx.Request, exchange: _Exchange) -> None:
        await self._app(_scope(request, exchange), exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer as the app sees them."""

    def __init__(self, body: bytes) -> None:
        self.cut: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
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
            self.content += message.get("body", b"")

    def drop(self, refused: bool) -> None:
        if not self.cut.done():
            self.cut.set_result(refused)


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
