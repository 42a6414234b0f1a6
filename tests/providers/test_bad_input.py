"""Whatever comes over the line instead of an answer, each provider's client says in two lines what it is and what to do."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.model.errors import AuthError, Malformed, ProviderError, Transient, Unreachable, UsageError
from gputui.model.keys import check_key_text
from gputui.providers.redaction import strike_out
from gputui.providers.registry import PROVIDERS, ClientContext, foreign_key_hint, make_client, provider_title
from gputui.sim.vtime import VirtualClock, in_virtual_time

KEY = "fake-key-abcdef-0123456789"
PAGE = "<!DOCTYPE html><html><body>Welcome to the hotel</body></html>"
REMOTE = [name for name, info in PROVIDERS.items() if info.needs_key]
FOREIGN = {"huddle": "mk_", "runpod": "rpa_", "lambda": "secret_"}

everywhere = pytest.mark.parametrize("provider", REMOTE)


def client_for(provider: str, answer: httpx.Response | Exception, folder: Path, *, key: str = KEY) -> Any:
    """Return a client to whom everything is answered the same."""

    def answer_all(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    transport = httpx.MockTransport(answer_all)
    return make_client(
        provider,
        ClientContext(VirtualClock(), folder, api_key=key, url="https://api.provider.test/v1", transport=transport),
    )


async def told(
    provider: str, answer: httpx.Response | Exception, folder: Path, *, key: str = KEY, ask: str = "list_machines"
) -> ProviderError:
    """Return the error of a question, having checked what holds for every one."""
    client = client_for(provider, answer, folder, key=key)
    with pytest.raises(ProviderError) as caught:
        await getattr(client, ask)()
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + str(error) + str(error.facts())
    assert key not in shown
    assert error.hint, error.message
    assert "\n" not in error.message + error.hint
    assert len(error.message) < 400
    assert len(error.hint) < 200
    return error


class TestRefused:
    @everywhere
    @in_virtual_time
    async def test_a_dead_key(self, provider: str, tmp_path: Path) -> None:
        answer = httpx.Response(401, json={"error": f"bad key {KEY}, or {KEY[:14]}…"})
        error = await told(provider, answer, tmp_path, ask="check_key")
        assert type(error) is AuthError
        assert error.message.startswith(provider_title(provider))
        assert error.provider == provider
        assert not error.lacks_permission
        assert KEY[:14] not in error.message
        assert f"gputui auth login {provider}" in (error.hint or "")

    @everywhere
    @in_virtual_time
    async def test_a_key_that_may_not(self, provider: str, tmp_path: Path) -> None:
        error = await told(provider, httpx.Response(403, json={"message": "access denied"}), tmp_path)
        assert type(error) is AuthError
        assert error.lacks_permission
        assert "permission" in (error.hint or "")

    @pytest.mark.parametrize(("owner", "prefix"), FOREIGN.items())
    @everywhere
    @in_virtual_time
    async def test_a_key_of_somebody_else(self, provider: str, owner: str, prefix: str, tmp_path: Path) -> None:
        key = f"{prefix}fake0123456789"
        hint = (await told(provider, httpx.Response(401, json={}), tmp_path, key=key, ask="check_key")).hint or ""
        assert f"gputui auth login {owner}" in hint
        assert ("looks like" in hint) is (owner != provider)
        assert prefix not in hint

    @pytest.mark.parametrize("prefix", ["mk_", "gk_"])
    def test_an_own_key_is_no_foreign_one(self, prefix: str) -> None:
        assert foreign_key_hint("huddle", f"{prefix}fake") is None
        assert foreign_key_hint("vastai", "0" * 64) is None


class TestSomethingInBetween:
    @pytest.mark.parametrize(
        ("answer", "kind", "words"),
        [
            (httpx.Response(200, html=PAGE), Malformed, "web page"),
            (httpx.Response(403, html=PAGE), Transient, "proxy or a firewall"),
            (httpx.Response(403, text="error code: 1010", headers={"CF-Ray": "1-FRA"}), Transient, "Cloudflare"),
            (httpx.Response(401, html=PAGE), Transient, "proxy or a firewall"),
            (httpx.Response(407, html=PAGE), Transient, "wants a login"),
            (httpx.Response(502, html=PAGE), Transient, "502"),
            (httpx.Response(302, headers={"Location": "http://login.hotel.test/?a"}), Malformed, "login.hotel.test"),
            (httpx.ProxyError("407 Proxy Authentication Required"), Unreachable, "wants a login"),
            (httpx.ProxyError("503 Service Unavailable"), Unreachable, "(503)"),
            (httpx.ConnectTimeout("slow"), Unreachable, "in time"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    @everywhere
    @in_virtual_time
    async def test_is_told_from_the_provider(
        self, provider: str, answer: Any, kind: type[ProviderError], words: str, tmp_path: Path
    ) -> None:
        error = await told(provider, answer, tmp_path)
        assert type(error) is kind
        assert words in error.message
        assert error.may_exist is False


class TestSpoiltAnswers:
    @pytest.mark.parametrize("ask", ["list_machines", "fetch_offers", "check_key"])
    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(200, text='{"data": [{"id": "abc'),
            httpx.Response(200, text='{"data": [', headers={"Content-Type": "application/json"}),
            httpx.Response(200, content=b"\x89PNG\r\n\x1a\n", headers={"Content-Type": "image/png"}),
        ],
        ids=["cut off", "cut off early", "an image"],
    )
    @everywhere
    @in_virtual_time
    async def test_are_reported_as_such(self, provider: str, answer: httpx.Response, ask: str, tmp_path: Path) -> None:
        error = await told(provider, answer, tmp_path, ask=ask)
        assert type(error) is Malformed
        assert "cut off" in error.message

    @pytest.mark.parametrize("body", ["text", 42, None, {"error": "boom"}, {"errors": ["boom"]}, {"success": False}])
    @everywhere
    @in_virtual_time
    async def test_a_success_that_is_none_is_never_an_empty_account(
        self, provider: str, body: Any, tmp_path: Path
    ) -> None:
        answer = httpx.Response(200, content=json.dumps(body))
        with pytest.raises(ProviderError) as caught:
            await client_for(provider, answer, tmp_path).list_machines()
        assert caught.value.may_exist is False
        assert caught.value.hint or not isinstance(caught.value, Malformed)

    @everywhere
    @in_virtual_time
    async def test_json_under_a_wrong_content_type_is_read_all_the_same(self, provider: str, tmp_path: Path) -> None:
        answer = httpx.Response(401, text='{"message": "no such key"}', headers={"Content-Type": "text/html"})
        assert "no such key" in (await told(provider, answer, tmp_path, ask="check_key")).message


class TestKeyText:
    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("", "empty"),
            (" \n", "empty"),
            (f'"{KEY}"', "quotes"),
            (f"\u201c{KEY}\u201d", "quotes"),
            (f"Bearer {KEY}", "header"),
            (f"X-API-Key: {KEY}", "header"),
            (f"export RUNPOD_API_KEY={KEY}", "whole line"),
            (f"{KEY}\n{KEY}", "line break"),
            (f"{KEY} {KEY}", "space"),
            (f"{KEY}\u00e9", "not ASCII"),
            (f"{KEY}\u200b", "not ASCII"),
            (f"{KEY}\x07", "control character"),
        ],
    )
    @everywhere
    def test_what_is_no_key_is_told_and_not_shown(self, provider: str, key: str, words: str, tmp_path: Path) -> None:
        context = ClientContext(VirtualClock(), tmp_path, api_key=key)
        with pytest.raises(UsageError) as caught:
            make_client(provider, context)
        assert words in caught.value.message
        assert KEY not in str(caught.value)
        assert caught.value.hint

    @pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\n", f"  {KEY} ", "ABCDEF0123==", "a.b/c+d="])
    def test_what_a_file_adds_is_taken_off_and_odd_keys_pass(self, key: str) -> None:
        assert check_key_text("acme", key) == key.strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY}!", "key [key]!"),
        ("key fake-key-abcdef… is wrong", "key [key]… is wrong"),
        ("the fake API key 0123", "the fake API key 0123"),
    ],
)
def test_parts_of_a_key_are_struck_out_of_quotes(text: str, shown: str) -> None:
    assert strike_out(text, (KEY,)) == shown
