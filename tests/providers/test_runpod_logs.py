"""RunPod's logs: how the client reads a stream that never ends, and the page that its frames make."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from client_stage import HTML, failure_of, seconds
from runpod_answers import LOG, POD, Lines, RunPodApi, ok, place, refused

from gputui.model.errors import AuthError, Gone, Malformed, ProviderError, RateLimited, Rejected, Transient, Unreachable
from gputui.model.logs import LogPage
from gputui.providers.events import ServerEvent
from gputui.providers.runpod import logs, wire
from gputui.providers.runpod.client import RunPodClient
from gputui.sim.vtime import in_virtual_time


@pytest.fixture
def api() -> RunPodApi:
    return RunPodApi()


class TestReading:
    @in_virtual_time
    async def test_from_the_start_and_on(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LOG] = [Lines("one", "two"), Lines("three", first=3)]
        page = await client.read_log(POD["id"], after=None, wait_s=20)
        assert page == LogPage(("one", "two"), place(2))
        page = await client.read_log(POD["id"], after=page.cursor, wait_s=20)
        assert page == LogPage(("three",), place(3))
        first, then = api.requests
        assert dict(first.url.params) == {"source": "container", "since": "1970-01-01T00:00:00Z"}
        assert "last-event-id" not in first.headers
        assert dict(then.url.params) == {"source": "container"}
        assert then.headers["last-event-id"] == place(2)
        assert seconds() < 3

    @in_virtual_time
    async def test_silence(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LOG] = [Lines(), httpx.ReadTimeout("the answer is kept back"), Lines()]
        assert await client.read_log(POD["id"], after="c", wait_s=20) == LogPage((), "c")
        assert seconds() == pytest.approx(20, abs=0.1)
        assert await client.read_log(POD["id"], after=None, wait_s=20) == LogPage((), None)
        await client.read_log(POD["id"], after=None, wait_s=0)
        assert seconds() < 22

    @pytest.mark.parametrize("status", [400, 422])
    @in_virtual_time
    async def test_a_server_that_will_not_begin_at_the_start(
        self, api: RunPodApi, client: RunPodClient, status: int
    ) -> None:
        api.routes[LOG] = [refused(status), Lines("one")]
        assert (await client.read_log(POD["id"], after=None, wait_s=20)).lines == ("one",)
        assert dict(api.requests[1].url.params) == {"source": "container", "tail": "5000"}
        api.routes[LOG] = refused(status)
        assert isinstance(await failure_of(client.read_log(POD["id"], after="c", wait_s=20)), Rejected)

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refused(401), AuthError),
            (refused(403), AuthError),
            (refused(404), Gone),
            (refused(429), RateLimited),
            (refused(500), Transient),
            (httpx.Response(502, text=HTML), Transient),
            (ok({"lines": []}), Malformed),
            (httpx.ConnectError("no"), Unreachable),
        ],
    )
    @in_virtual_time
    async def test_errors(self, api: RunPodApi, client: RunPodClient, answer: Any, kind: type[ProviderError]) -> None:
        api.routes[LOG] = answer
        error = await failure_of(client.read_log(POD["id"], after=None, wait_s=20))
        assert (type(error), error.may_exist) == (kind, False)
        assert len(api.requests) == 1

    @in_virtual_time
    async def test_many_logs_share_the_quota_and_no_line_is_lost(self, api: RunPodApi, client: RunPodClient) -> None:
        api.routes[LOG] = lambda request: Lines("x")
        began = seconds()
        pages = await asyncio.gather(*(client.read_log(POD["id"], after="c", wait_s=20) for _ in range(15)))
        assert seconds() - began < 50
        read = [page for page in pages if page.lines]
        assert len(read) == len(api.requests) < 15
        assert {page.cursor for page in pages} == {place(1), "c"}
        assert api.times_s[LOG][-1] > 15

    @in_virtual_time
    async def test_lines_without_a_place(self, api: RunPodApi, client: RunPodClient) -> None:
        lines = Lines()
        lines.frames = ["data: plain\n\n"]
        api.routes[LOG] = lines
        assert isinstance(await failure_of(client.read_log(POD["id"], after=None, wait_s=20)), Malformed)


def event(number: int, text: str | None, **more: Any) -> ServerEvent:
    data = None if text is None else json.dumps({"ts": f"T{number}", "source": "container", "line": text, **more})
    return ServerEvent(f"T{number}/{number:012d}", data)


class TestPages:
    def test_lines_and_where_to_go_on(self) -> None:
        page = logs.page_of([event(1, "a"), event(2, ""), event(3, "c: d\r\n")], None)
        assert page == LogPage(("a", "", "c: d"), "T3/000000000003")

    def test_nothing_new(self) -> None:
        assert logs.page_of([], "T1/1") == LogPage((), "T1/1")
        assert logs.page_of([], None) == LogPage((), None)

    def test_a_frame_without_data_moves_the_cursor(self) -> None:
        assert logs.page_of([event(1, "a"), event(9, None)], None) == LogPage(("a",), "T9/000000000009")

    def test_each_line_once(self) -> None:
        events = [event(1, "a"), event(2, "b"), event(2, "b"), event(3, "b")]
        assert logs.page_of(events, None).lines == ("a", "b", "b")

    def test_what_was_read_before_comes_back(self) -> None:
        events = [event(number, f"line {number}") for number in range(1, 6)]
        assert logs.page_of(events, "T3/000000000003") == LogPage(("line 4", "line 5"), "T5/000000000005")
        assert logs.page_of(events[:3], "T3/000000000003") == LogPage((), "T3/000000000003")

    def test_all_lines_of_one_second_are_kept(self) -> None:
        """The published document calls the id a moment: then lines share it."""
        events = [ServerEvent("T1", json.dumps({"line": text})) for text in "abb"]
        assert logs.page_of(events, None) == LogPage(("a", "b", "b"), "T1")

    def test_the_hosts_own_lines_are_passed_over(self) -> None:
        page = logs.page_of([event(1, "a"), event(2, "start container", source="system")], None)
        assert page == LogPage(("a",), "T2/000000000002")

    def test_what_is_not_as_documented_is_shown_as_it_came(self) -> None:
        events = [ServerEvent(str(number), data) for number, data in enumerate(("plain", "[1]", '{"x": 1}', "null"))]
        assert logs.page_of(events, None).lines == ("plain", "[1]", '{"x": 1}', "null")

    def test_a_line_of_several_lines(self) -> None:
        assert logs.page_of([event(1, "a\nb\x0bc\u2028d\n")], None).lines == ("a", "b\x0bc\u2028d")

    def test_without_ids_the_moment_is_the_place(self) -> None:
        data = json.dumps({"ts": "T7", "source": "container", "line": "a"})
        assert logs.page_of([ServerEvent(None, data), ServerEvent(None, data)], None) == LogPage(("a", "a"), "T7")

    def test_lines_without_a_place_are_not_read_twice_silently(self) -> None:
        with pytest.raises(wire.Unreadable):
            logs.page_of([ServerEvent(None, "plain")], None)
