"""The HTTP client: what is retried, what an answer means, and that no key gets out. Run in virtual time."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from client_stage import failure_of, seconds
from pydantic import BaseModel, ConfigDict

from gputui.model.errors import (
    AuthError,
    ConfigError,
    Gone,
    Malformed,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
    Unreachable,
)
from gputui.providers import http, replies
from gputui.providers.http import HttpClient
from gputui.providers.replies import Reply, default_error
from gputui.sim.vtime import START_MS, VirtualClock, in_virtual_time, run_virtual

KEY = "fake-key-0123456789"
HTML = "<!DOCTYPE html><html><body>Access denied</body></html>"

Handler = Callable[[httpx.Request], Any]


def client_for(handler: Handler, **options: Any) -> HttpClient:
    return HttpClient(
        "acme",
        "https://api.acme.test/v1/",
        clock=VirtualClock(),
        headers={"X-API-Key": KEY},
        secrets=(KEY,),
        transport=httpx.MockTransport(handler),
        **options,
    )


class Script:
    """Answers each request with the next of its steps (the last for ever) and counts."""

    def __init__(self, *steps: httpx.Response | Exception) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps[min(len(self.requests), len(self.steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)


async def read(script: Script, **options: Any) -> Reply:
    return await client_for(script, **options).get("things", operation="read things")


async def write(script: Script, **options: Any) -> Reply:
    return await client_for(script, **options).send("POST", "things", operation="make a thing", json_body={"a": 1})


OK = httpx.Response(200, json={"a": 1})
BROKEN = httpx.Response(503, json={"error": "busy"})


class TestRequests:
    @in_virtual_time
    async def test_path_joins_the_base_and_unset_parameters_stay_out(self) -> None:
        script = Script(OK)
        await client_for(script).get("/things", operation="read", params={"limit": 3, "cursor": None})
        sent = script.requests[0]
        assert str(sent.url) == "https://api.acme.test/v1/things?limit=3"
        assert sent.headers["x-api-key"] == KEY
        assert sent.headers["accept"] == "application/json"

    @in_virtual_time
    async def test_reply_carries_status_data_and_request_id(self) -> None:
        reply = await read(Script(httpx.Response(202, json=[1], headers={"X-Request-Id": "req-7"})))
        assert (reply.status, reply.data, reply.request_id, reply.is_page) == (202, [1], "req-7", False)

    @in_virtual_time
    async def test_empty_success_is_no_data(self) -> None:
        reply = await write(Script(httpx.Response(204)))
        assert (reply.status, reply.data) == (204, None)

    @in_virtual_time
    async def test_redirects_are_not_followed(self) -> None:
        script = Script(httpx.Response(302, headers={"Location": "https://elsewhere.test/"}))
        assert isinstance(await failure_of(write(script)), Malformed)
        assert len(script.requests) == 1

    @in_virtual_time
    async def test_aclose_ends_the_client(self) -> None:
        client = client_for(Script(OK))
        await client.aclose()
        with pytest.raises(RuntimeError):
            await client.get("things", operation="read")


class TestRetries:
    @in_virtual_time
    async def test_a_read_is_tried_again_after_a_moment(self) -> None:
        script = Script(BROKEN, BROKEN, OK)
        assert (await read(script)).data == {"a": 1}
        assert len(script.requests) == 3
        assert seconds() == pytest.approx(sum(http.BACKOFF_S))

    @in_virtual_time
    async def test_a_question_that_travels_as_a_post_is_a_read(self) -> None:
        script = Script(BROKEN, OK)
        reply = await client_for(script).query("things", operation="ask for things", json_body={"a": 1})
        assert reply.data == {"a": 1}
        assert [request.content for request in script.requests] == [b'{"a":1}'] * 2
        lost = Script(httpx.ReadError("reset"))
        error = await failure_of(client_for(lost).query("things", operation="ask for things", json_body={}))
        assert error.may_exist is False
        assert len(lost.requests) == http.READ_ATTEMPTS

    @in_virtual_time
    async def test_a_read_gives_up(self) -> None:
        script = Script(BROKEN)
        error = await failure_of(read(script))
        assert isinstance(error, Transient)
        assert len(script.requests) == http.READ_ATTEMPTS

    @pytest.mark.parametrize(
        "broken", [httpx.ReadError("reset"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")]
    )
    @in_virtual_time
    async def test_a_read_survives_a_broken_connection(self, broken: Exception) -> None:
        script = Script(broken, OK)
        assert (await read(script)).data == {"a": 1}

    @pytest.mark.parametrize(
        "step",
        [BROKEN, httpx.Response(500), httpx.Response(429, headers={"Retry-After": "1"}), httpx.ReadTimeout("slow")],
    )
    @in_virtual_time
    async def test_a_write_is_never_sent_twice(self, step: httpx.Response | Exception) -> None:
        script = Script(step, OK)
        await failure_of(write(script))
        assert len(script.requests) == 1
        assert seconds() == 0

    @pytest.mark.parametrize("step", [httpx.Response(status, json={}) for status in (400, 401, 403, 404, 409, 422)])
    @in_virtual_time
    async def test_a_refusal_is_final(self, step: httpx.Response) -> None:
        script = Script(step, OK)
        await failure_of(read(script))
        assert len(script.requests) == 1

    @in_virtual_time
    async def test_an_unreachable_host_is_not_asked_again(self) -> None:
        script = Script(httpx.ConnectError("refused"), OK)
        assert isinstance(await failure_of(read(script)), Unreachable)
        assert len(script.requests) == 1

    @in_virtual_time
    async def test_retry_after_is_honoured(self) -> None:
        script = Script(httpx.Response(429, headers={"Retry-After": "7"}), OK)
        await read(script)
        assert seconds() == pytest.approx(7)

    @in_virtual_time
    async def test_retry_after_as_a_date_is_honoured(self) -> None:
        # START_MS is 09:00:00.
        script = Script(httpx.Response(429, headers={"Retry-After": "Mon, 05 Jan 2026 09:00:09 GMT"}), OK)
        await read(script)
        assert seconds() == pytest.approx(9)

    @in_virtual_time
    async def test_429_without_retry_after_backs_off(self) -> None:
        await read(Script(httpx.Response(429), OK))
        assert seconds() == pytest.approx(http.BACKOFF_S[0])

    @in_virtual_time
    async def test_a_long_retry_after_is_handed_to_the_caller(self) -> None:
        script = Script(httpx.Response(429, headers={"Retry-After": "3600"}), OK)
        error = await failure_of(read(script))
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 3600
        assert (len(script.requests), seconds()) == (1, 0)

    @pytest.mark.parametrize(
        ("value", "expected"), [("-3", None), ("soon", None), ("inf", None), ("nan", None), ("", None), ("0", 0.0)]
    )
    def test_unreadable_retry_after_is_none(self, value: str, expected: float | None) -> None:
        assert replies.retry_after_s({"retry-after": value}, START_MS) == expected

    def test_retry_after_in_the_past_is_now(self) -> None:
        assert replies.retry_after_s({"retry-after": "Mon, 05 Jan 2026 08:00:00 GMT"}, START_MS) == 0.0


class TestMeaning:
    @pytest.mark.parametrize(
        ("step", "kind", "may_exist"),
        [
            (httpx.Response(400, json={"error": "bad"}), Rejected, False),
            (httpx.Response(401, json={"error": "bad"}), AuthError, False),
            (httpx.Response(401), AuthError, False),
            (httpx.Response(403, json={"error": "bad"}), AuthError, False),
            (httpx.Response(404, json={"error": "bad"}), Gone, False),
            (httpx.Response(404, text=HTML), Malformed, True),
            (httpx.Response(408), Transient, True),
            (httpx.Response(418, json={}), Rejected, False),
            (httpx.Response(429, json={}), RateLimited, False),
            (httpx.Response(500), Transient, True),
            (httpx.Response(502, text=HTML), Transient, True),
            (httpx.Response(301, json={}), Malformed, True),
            (httpx.Response(200, text=HTML), Malformed, True),
            (httpx.Response(200, text='{"data": {"id": "abc'), Malformed, True),
            (httpx.Response(200, content=b"\xff\xfe{}"), Malformed, True),
            (httpx.Response(200, text="[" * 100_000), Malformed, True),
            (httpx.ConnectError("refused"), Unreachable, False),
            (httpx.ConnectTimeout("slow"), Unreachable, False),
            (httpx.PoolTimeout("busy"), Unreachable, False),
            (httpx.ProxyError("no"), Unreachable, False),
            (httpx.UnsupportedProtocol("gopher"), Unreachable, False),
            (httpx.ReadTimeout("slow"), Unreachable, True),
            (httpx.WriteTimeout("slow"), Unreachable, True),
            (httpx.ReadError("reset"), Unreachable, True),
            (httpx.RemoteProtocolError("cut"), Unreachable, True),
            (httpx.DecodingError("gzip"), Malformed, True),
        ],
    )
    @in_virtual_time
    async def test_of_a_write(
        self, step: httpx.Response | Exception, kind: type[ProviderError], may_exist: bool
    ) -> None:
        error = await failure_of(write(Script(step)))
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert (error.provider, error.operation) == ("acme", "make a thing")

    @pytest.mark.parametrize("step", [BROKEN, httpx.ReadTimeout("slow"), httpx.Response(200, text=HTML)])
    @in_virtual_time
    async def test_a_read_never_leaves_anything_behind(self, step: httpx.Response | Exception) -> None:
        assert (await failure_of(read(Script(step)))).may_exist is False

    @pytest.mark.parametrize("status", [401, 403])
    @in_virtual_time
    async def test_a_page_of_a_firewall_is_not_a_dead_key(self, status: int) -> None:
        error = await failure_of(write(Script(httpx.Response(status, text=HTML))))
        assert type(error) is Transient
        assert error.may_exist is False
        assert error.status == status

    @in_virtual_time
    async def test_tls_trouble_says_so_and_nothing_was_sent(self) -> None:
        cause = httpx.ConnectError("tls")
        cause.__cause__ = ssl.SSLError("wrong version number")
        error = await failure_of(write(Script(cause)))
        assert isinstance(error, Unreachable)
        assert error.sent is False
        assert "TLS" in error.message
        assert "proxy" in (error.hint or "")

    @in_virtual_time
    async def test_status_and_request_id_are_kept(self) -> None:
        error = await failure_of(write(Script(httpx.Response(500, headers={"X-Request-Id": "req-9"}))))
        assert (error.status, error.request_id) == (500, "req-9")
        assert error.facts()["http_status"] == 500

    @in_virtual_time
    async def test_the_providers_sentence_is_shown_on_one_line(self) -> None:
        error = await failure_of(
            write(Script(httpx.Response(400, json={"error": "no\n\n  such   \timage " + "x" * 999})))
        )
        assert "no such image xxx" in error.message
        assert "\n" not in error.message
        assert len(error.message) < 400

    @in_virtual_time
    async def test_a_provider_may_read_its_own_answers(self) -> None:
        def mapper(reply: Reply) -> ProviderError | None:
            return NotFunded("pay first") if reply.data.get("code") == "POOR" else None

        error = await failure_of(write(Script(httpx.Response(200, json={"code": "POOR"})), map_error=mapper))
        assert type(error) is NotFunded
        assert (error.provider, error.operation, error.status) == ("acme", "make a thing", 200)
        assert (await write(Script(OK), map_error=mapper)).data == {"a": 1}
        assert type(await failure_of(write(Script(httpx.Response(400, json={})), map_error=mapper))) is Rejected

    def test_default_error_reads_a_status_put_into_the_reply(self) -> None:
        reply = Reply("x", 404, {"error": "gone"}, False, None, {})
        assert type(default_error("acme", reply, START_MS)) is Gone


class Rows(BaseModel):
    model_config = ConfigDict(extra="allow")

    rows: list[int]


class TestShapes:
    """An answer of the shape told for its operation is read into it; every other one is what it was without."""

    @staticmethod
    async def data_of(answer: str, operation: str = "count") -> Any:
        reply = await client_for(Script(httpx.Response(200, text=answer)), shapes={"count": Rows}).get(
            "rows", operation=operation
        )
        return reply.data

    @in_virtual_time
    async def test_an_answer_of_the_shape_comes_read_with_all_its_other_members(self) -> None:
        answer = await self.data_of('{"rows": ["1", 2], "success": true, "keys": {"a": null}}')
        assert answer == {"rows": [1, 2], "success": True, "keys": {"a": None}}

    @pytest.mark.parametrize("answer", ['{"rows": ["1", "many"]}', '{"rows": null}', "[1]", "{}", "null"])
    def test_any_other_comes_as_it_is(self, answer: str) -> None:
        assert run_virtual(self.data_of(answer)) == json.loads(answer)

    @in_virtual_time
    async def test_another_operation_has_no_shape(self) -> None:
        assert await self.data_of('{"rows": ["1"]}', operation="look") == {"rows": ["1"]}

    @in_virtual_time
    async def test_an_answer_that_was_cut_off_is_malformed(self) -> None:
        with pytest.raises(Malformed, match="cut off"):
            await self.data_of('{"rows": [1, 2')


class TestLimits:
    @in_virtual_time
    async def test_an_endless_body_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "MAX_BODY_BYTES", 1000)
        chunks = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal chunks
            while True:
                chunks += 1
                yield b" " * 400

        error = await failure_of(
            client_for(lambda _: httpx.Response(200, content=endless())).get("x", operation="read")
        )
        assert type(error) is Malformed
        assert chunks == 3

    @in_virtual_time
    async def test_a_small_body_that_unpacks_to_a_huge_one_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "MAX_BODY_BYTES", 100_000)
        bomb = gzip.compress(b" " * 10_000_000)
        reply = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(bomb))
        error = await failure_of(client_for(lambda _: reply).get("x", operation="read"))
        assert type(error) is Malformed

    @in_virtual_time
    async def test_a_trickling_answer_has_an_end(self) -> None:
        async def trickle() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(5)
                yield b" "

        client = client_for(lambda _: httpx.Response(200, content=trickle()))
        error = await failure_of(client.send("POST", "x", operation="make"))
        assert isinstance(error, Unreachable)
        assert error.may_exist is True
        assert seconds() == pytest.approx(http.WRITE_DEADLINE_S)


class TestSecrets:
    @pytest.mark.parametrize(
        "step",
        [
            httpx.Response(401, json={"error": f"invalid key {KEY}"}),
            httpx.Response(500, json={"message": f"crash with X-API-Key: {KEY}"}),
            httpx.Response(200, text=f"<html>{KEY}</html>"),
            httpx.ConnectError(f"connecting with {KEY}"),
            httpx.ReadTimeout(f"waiting with {KEY}"),
        ],
    )
    @in_virtual_time
    async def test_the_key_is_in_no_exception(self, step: httpx.Response | Exception) -> None:
        error = await failure_of(write(Script(step)))
        shown = "".join(traceback.format_exception(error)) + repr(error) + str(error.facts()) + str(error.args)
        assert KEY not in shown
        assert error.__cause__ is None
        assert error.__context__ is None

    @pytest.mark.parametrize(
        "url",
        [
            "http://api.acme.test/v1",
            "http://127.evil.test/",
            "ftp://127.0.0.1/",
            "api.acme.test",
            "",
            "https://",
            "http://[oops/",
        ],
    )
    def test_an_address_in_clear_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            HttpClient("acme", url, clock=VirtualClock(), headers={}, secrets=(KEY,))
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["https://api.acme.test/v1", "http://127.0.0.1:8080/v1", "http://localhost:1/", "http://[::1]/"]
    )
    def test_https_and_this_machine_are_fine(self, url: str) -> None:
        HttpClient("acme", url, clock=VirtualClock(), headers={})
