"""An ASGI app over a loopback socket, served so that the app can drop a connection and a signal ends it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gputui.model.errors import UsageError
from gputui.sim.gate import CUT

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
_SHUTDOWN_S = 1
_STOP_DEADLINE_S = 10.0


def listen(port: int) -> socket.socket:
    """Return a socket bound to a loopback port, 0 for any free one. Raises UsageError when the port cannot be had."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is already in use" if taken else f"cannot be used ({error})"
        raise UsageError(f"Port {port} {why}.", field="port", hint="Give another one with --port.") from None
    return listener


async def serve_until_stopped(
    app: ASGIApp, listener: socket.socket, *, background: asyncio.Task[None], on_ready: Callable[[], None]
) -> None:
    """Serve until SIGINT, SIGTERM, cancellation, or the end of `background`, whose error is raised."""
    server = _make_server(app, on_ready)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    with _stopping_on_signals(server):
        try:
            await asyncio.wait({serving, background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            await asyncio.wait({serving}, timeout=_STOP_DEADLINE_S)
    for task in (serving, background):
        if task.done() and not task.cancelled():
            task.result()


def _make_server(app: ASGIApp, on_ready: Callable[[], None]) -> uvicorn.Server:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class CuttableProtocol(H11Protocol):
        """Gives the app a way to drop the connection without an answer."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            inner = self.app

            async def with_cut(scope: Any, receive: Any, send: Any) -> None:
                await inner({**scope, "extensions": {CUT: self._cut}}, receive, send)

            self.app = with_cut

        def _cut(self, refused: bool) -> None:
            self.transport.abort()

    class QuietServer(uvicorn.Server):
        """Leaves signals to its caller and says when it listens."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    return QuietServer(config)


@contextlib.contextmanager
def _stopping_on_signals(server: uvicorn.Server) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
