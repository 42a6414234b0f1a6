"""Server-sent events: frames however they are cut, and when reading a stream that never ends is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from client_stage import seconds

from gputui.model.errors import AuthError, Gone, Malformed, ProviderError, RateLimited, Transient, Unreachable
from gputui.providers import events as events_module
from gputui.providers.events import EventParser, Patience, ServerEvent, read_until_quiet
from gputui.providers.http import HttpClient
from gputui.providers.pacing import Pace, Pacer
from gputui.sim.vtime import VirtualClock, in_virtual_time

KEY = "fake-key-0123456789"
PATIENCE = Patience(wait_s=20, quiet_s=0.75, limit_s=8)
STREAM = {"content-type": "text/event-stream; charset=utf-8"}
FRAMES = (
    b": keepalive\n\n"
    b'id: 1\ndata: {"line":"a: b"}\n\n'
    b"id: 2\n\n"
    b"event: x\nretry: 3\ndata:two\ndata: \xe2\x80\x9clines\xe2\x80\x9d\n\n"
)
EVENTS = [ServerEvent("1", '{"line":"a: b"}'), ServerEvent("2", None), ServerEvent(None, "two\n“lines”")]


class TestParser:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
    def test_frames_wherever_they_are_cut(self, size: int, line_end: bytes) -> None:
        parser, raw = EventParser(), b"\xef\xbb\xbf" + FRAMES.replace(b"\n", line_end)
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS

    def test_an_unfinished_frame_is_none_yet(self) -> None:
        parser = EventParser()
        assert parser.feed(b"id: 1\ndata: x\n") == []
        assert parser.feed(b"\n") == [ServerEvent("1", "x")]

    def test_an_id_holds_for_its_own_frame_only(self) -> None:
        assert EventParser().feed(b"id: 1\ndata: x\n\ndata: y\n\n") == [ServerEvent("1", "x"), ServerEvent(None, "y")]

    def test_bytes_that_are_no_text_are_replaced(self) -> None:
        assert EventParser().feed(b"data: \xff!\n\n") == [ServerEvent(None, "\ufffd!")]

    def test_one_line_does_not_fill_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events_module, "LONGEST_LINE", 20)
        parser = EventParser()
        for _ in range(50):
            parser.feed(b"data: " + b"x" * 100)
        assert parser.feed(b"\n\ndata: next\n\n") == [ServerEvent(None, "x" * 14), ServerEvent(None, "next")]


class Stream(httpx.AsyncByteStream):
    """Sends pieces after pauses, then breaks, ends, or stays open for ever."""

    def __init__(self, *steps: tuple[float, bytes], then: str | Exception = "silence") -> None:
        self.steps = steps
        self.then = then
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause_s, piece in self.steps:
            await asyncio.sleep(pause_s)
            yield piece
        if isinstance(self.then, Exception):
            raise self.then
        if self.then == "silence":
            await asyncio.sleep(100_000)

    async def aclose(self) -> None:
        self.is_closed = True


def line(text: str) -> bytes:
    return f"id: {text}\ndata: {text}\n\n".encode()


class TestReading:
    async def read(self, stream: Stream, patience: Patience = PATIENCE) -> list[str | None]:
        into: list[ServerEvent] = []
        await read_until_quiet(stream.__aiter__(), patience, into)
        return [event.data for event in into]

    @in_virtual_time
    async def test_a_burst_ends_with_a_gap(self) -> None:
        assert await self.read(Stream((3, line("a")), (0.5, line("b")), (0.8, line("c")))) == ["a", "b"]
        assert seconds() == pytest.approx(4.25)

    @in_virtual_time
    async def test_silence_is_waited_for_no_longer_than_asked(self) -> None:
        assert await self.read(Stream()) == []
        assert seconds() == pytest.approx(20)

    @in_virtual_time
    async def test_life_signs_are_no_news(self) -> None:
        signs = [(4.9, b": keepalive\n\n"), (4.9, b"id: 7\n\n")] * 10
        assert await self.read(Stream(*signs)) == [None, None]
        assert seconds() == pytest.approx(20)
        assert await self.read(Stream((0, line("a")), *[(0.3, b": keepalive\n\n")] * 20)) == ["a"]
        assert seconds() == pytest.approx(20.75)

    @in_virtual_time
    async def test_what_never_falls_quiet_comes_in_pieces(self) -> None:
        assert len(await self.read(Stream(*[(0.6, line(str(number))) for number in range(100)]))) == 14
        assert seconds() == pytest.approx(8.6)

    @in_virtual_time
    async def test_what_is_there_at_once_comes_in_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events_module, "LARGEST_PAGE_BYTES", 100)
        assert len(await self.read(Stream(*[(0.0, line("x" * 10))] * 1000))) == 4
        assert seconds() == 0

    @in_virtual_time
    async def test_the_end(self) -> None:
        assert await self.read(Stream((0, line("a") + b"id: cut\ndata: o"), then="end")) == ["a"]
        assert seconds() == 0


def client_for(answer: Any, **options: Any) -> tuple[HttpClient, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Stream):
            return httpx.Response(200, headers=STREAM, stream=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    transport = httpx.MockTransport(handle)
    client = HttpClient(
        "acme",
        "https://api.acme.test",
        clock=VirtualClock(),
        headers={"X-Key": KEY},
        secrets=(KEY,),
        transport=transport,
        **options,
    )
    return client, requests


async def events_of(client: HttpClient) -> list[ServerEvent]:
    return await client.read_events(
        "log", operation="read a log", patience=PATIENCE, params={"tail": 5}, headers={"Last-Event-ID": "7"}
    )


class TestHttp:
    @in_virtual_time
    async def test_a_stream_is_asked_for_and_closed(self) -> None:
        stream = Stream((0, FRAMES))
        client, requests = client_for(stream)
        assert await events_of(client) == EVENTS
        assert stream.is_closed
        assert str(requests[0].url) == "https://api.acme.test/log?tail=5"
        assert {name: requests[0].headers[name] for name in ("accept", "accept-encoding", "last-event-id")} == {
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "last-event-id": "7",
        }

    @in_virtual_time
    async def test_an_answer_kept_back_until_there_is_an_event_is_silence(self) -> None:
        client, requests = client_for(httpx.ReadTimeout("nothing"))
        assert await events_of(client) == []
        assert len(requests) == 1

    @in_virtual_time
    async def test_what_came_before_the_break_counts(self) -> None:
        for broken in (httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("late")):
            client, _ = client_for(Stream((0, line("a")), then=broken))
            assert [event.data for event in await events_of(client)] == ["a"]

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (httpx.ConnectError("no"), Unreachable),
            (httpx.ConnectTimeout("no"), Unreachable),
            (Stream(then=httpx.ReadError("reset")), Unreachable),
            (Stream((0, b"id: 7\n\n"), then=httpx.ReadError("reset")), Unreachable),
            (httpx.Response(401, json={"error": f"bad {KEY}"}), AuthError),
            (httpx.Response(404, json={"error": "no"}), Gone),
            (httpx.Response(429, headers={"Retry-After": "7"}), RateLimited),
            (httpx.Response(502, text="<html>"), Transient),
            (httpx.Response(502, text="data: x\n\n", headers=STREAM), Transient),
            (httpx.Response(200, text="<html>"), Malformed),
            (httpx.Response(200, json={"lines": []}), Malformed),
        ],
    )
    @in_virtual_time
    async def test_errors(self, answer: Any, kind: type[ProviderError]) -> None:
        client, requests = client_for(answer)
        with pytest.raises(ProviderError) as caught:
            await events_of(client)
        assert type(caught.value) is kind
        assert caught.value.may_exist is False
        assert caught.value.operation == "read a log"
        assert KEY not in str(caught.value)
        assert len(requests) == 1

    @in_virtual_time
    async def test_a_trickle_of_headers_ends(self) -> None:
        async def never(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(100_000)
            raise AssertionError

        client = HttpClient(
            "acme", "https://a.test", clock=VirtualClock(), headers={}, transport=httpx.MockTransport(never)
        )
        with pytest.raises(Unreachable):
            await events_of(client)
        assert seconds() < 70

    @in_virtual_time
    async def test_every_connection_takes_its_turn(self, tmp_path: Any) -> None:
        pacer = Pacer(tmp_path, "acme", [Pace("all", every_s=15)], clock=VirtualClock())
        client, requests = client_for(Stream((0, line("a")), then="end"), pacer=pacer)
        await events_of(client)
        await events_of(client)
        assert seconds() == pytest.approx(15, abs=0.1)
        with pytest.raises(RateLimited):
            await asyncio.gather(*(events_of(client) for _ in range(3)))
        assert len(requests) >= 2

    @in_virtual_time
    async def test_pauses_told_by_any_answer_are_kept(self, tmp_path: Any) -> None:
        pacer = Pacer(tmp_path, "acme", [], clock=VirtualClock())
        client, _ = client_for(Stream((0, line("a")), then="end"), pacer=pacer, read_pause=lambda headers: 12.0)
        await events_of(client)
        await events_of(client)
        assert seconds() == pytest.approx(12, abs=0.1)
        client, _ = client_for(httpx.Response(200, json={}), pacer=pacer, read_pause=lambda headers: 5.0)
        await client.get("x", operation="read")
        before = seconds()
        await client.get("x", operation="read")
        assert seconds() - before == pytest.approx(5, abs=0.1)
