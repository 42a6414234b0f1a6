"""Answers that are sent in pieces, through the gate and the in-process transport, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from gputui.sim.gate import Answer, ApiError, Call, Cut, Endpoint, ProviderApp
from gputui.sim.transport import asgi_transport
from gputui.sim.vtime import VirtualClock, in_virtual_time
from gputui.sim.world import World


class Streams:
    """An app whose one endpoint streams what a test says; `ended` tells how the stream went out."""

    def __init__(self, produce: Callable[[], AsyncIterator[bytes]]) -> None:
        self.world = World(VirtualClock(), seed=1)
        self.ended = asyncio.Event()
        self._produce = produce
        self.app = ProviderApp(
            self.world,
            "test",
            "",
            [Endpoint("GET", "/lines", "lines", self._answer)],
            error=lambda error: Answer({"error": error.text}, error.status),
            request_id_header="x-request-id",
        )

    async def _answer(self, call: Call) -> Answer:
        if call.query("refuse"):
            raise ApiError(404, "", "no such log")
        return Answer(None, 206, {"content-type": "text/event-stream"}, self._watched())

    async def _watched(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._produce():
                yield piece
        finally:
            self.ended.set()

    def client(self, timeout_s: float = 5.0) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=asgi_transport(self.app), base_url="http://sim", timeout=timeout_s)


async def ticking() -> AsyncIterator[bytes]:
    number = 0
    while True:
        yield f"{number}\n".encode()
        number += 1
        await asyncio.sleep(2)


async def ending() -> AsyncIterator[bytes]:
    yield b"one\n"
    await asyncio.sleep(1)
    yield b"two\n"


async def breaking() -> AsyncIterator[bytes]:
    yield b"one\n"
    await asyncio.sleep(1)
    raise Cut


async def failing() -> AsyncIterator[bytes]:
    yield b"one\n"
    raise ValueError("boom")


async def silent() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b"late\n"


def now_s() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_pieces_come_as_they_are_sent_and_closing_ends_the_apps_side() -> None:
    streams = Streams(ticking)
    seen = []
    async with streams.client() as client, client.stream("GET", "/lines") as response:
        assert (response.status_code, response.headers["content-type"]) == (206, "text/event-stream")
        assert response.headers["x-request-id"] == "req-00000001"
        async for line in response.aiter_lines():
            seen.append((now_s(), line))
            if len(seen) == 3:
                break
    assert seen == [(0.0, "0"), (2.0, "1"), (4.0, "2")]
    async with asyncio.timeout(1):
        await streams.ended.wait()


@in_virtual_time
async def test_a_stream_that_ends() -> None:
    streams = Streams(ending)
    async with streams.client() as client:
        assert (await client.get("/lines")).text == "one\ntwo\n"
    assert streams.ended.is_set()


@in_virtual_time
async def test_the_head_comes_before_the_first_piece() -> None:
    streams = Streams(silent)
    async with streams.client() as client, client.stream("GET", "/lines") as response:
        assert (response.status_code, now_s()) == (206, 0.0)
        with pytest.raises(httpx.ReadTimeout):
            await response.aread()
        assert now_s() == 5.0
    async with asyncio.timeout(1):
        await streams.ended.wait()


@in_virtual_time
async def test_the_connection_can_break_in_the_middle() -> None:
    streams = Streams(breaking)
    async with streams.client() as client, client.stream("GET", "/lines") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == "one"
        with pytest.raises(httpx.ReadError):
            await anext(lines)
    assert now_s() == 1.0


@in_virtual_time
async def test_an_error_in_a_stream_is_not_swallowed() -> None:
    async with Streams(failing).client() as client:
        with pytest.raises(ValueError, match="boom"):
            await client.get("/lines")


@pytest.mark.parametrize(
    ("fault", "error"),
    [("lost_reply", httpx.ReadError), ("timeout_after", httpx.ReadTimeout), ("connect_error", httpx.ConnectError)],
)
@in_virtual_time
async def test_faults_come_before_a_stream(fault: str, error: type[Exception]) -> None:
    streams = Streams(ticking)
    streams.world.faults.set(**{fault: {"count": 1}})
    async with streams.client() as client:
        with pytest.raises(error):
            await client.get("/lines")
        refused = await client.get("/lines", params={"refuse": "1"})
        assert (refused.status_code, refused.json()) == (404, {"error": "no such log"})


@in_virtual_time
async def test_two_streams_side_by_side() -> None:
    streams = Streams(ticking)

    async def read(count: int) -> list[str]:
        async with streams.client() as client, client.stream("GET", "/lines") as response:
            lines = response.aiter_lines()
            return [await anext(lines) for _ in range(count)]

    readers: list[Awaitable[list[str]]] = [read(4), read(2)]
    assert await asyncio.gather(*readers) == [["0", "1", "2", "3"], ["0", "1"]]
