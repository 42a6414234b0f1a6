"""What a person reads when a key, or the way to a provider, is not as it should be: two lines, and never the key."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "fake-key-abcdef-0123456789"


@dataclass
class Stand:
    """An HTTP server in a provider's place that answers everything the same."""

    port: int = 0
    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@pytest.fixture
def stand() -> Iterator[Stand]:
    standing = Stand()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(standing.status)
            for name, value in {"Content-Type": "application/json", **standing.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(standing.body)))
            self.end_headers()
            self.wfile.write(standing.body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    standing.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield standing
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def at(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """The stand as the user's Huddle account."""
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", KEY)
    monkeypatch.setenv("GPUTUI_HUDDLE_URL", stand.url)
    return stand


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def told(said: Any) -> list[str]:
    """Return the lines of an error, having checked that there are no more than two and that the key is in none."""
    assert KEY not in said.out + said.err
    lines: list[str] = said.err.strip().splitlines()
    lines = lines[next(number for number, line in enumerate(lines) if line.startswith("error:")) :]
    assert len(lines) <= 2
    return lines


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f'"{KEY}"\n', "quotes"),
        (f"Bearer {KEY}\n", "Bearer"),
        (f"{KEY}\n{KEY}\n", "line break"),
        (f"{KEY}\u00e9\n", "ASCII"),
        ("\n", "empty"),
    ],
)
def test_login_says_what_is_wrong_with_a_key(cli: Any, monkeypatch: pytest.MonkeyPatch, key: str, words: str) -> None:
    typed(monkeypatch, key)
    said = cli("auth", "login", "huddle", "--stdin", "--insecure-storage")
    assert said.code == 2
    message, hint = told(said)
    assert words in message
    assert hint


def test_login_warns_of_another_providers_key_and_keeps_it_all_the_same(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, f"rpa_{KEY}\n")
    said = cli("auth", "login", "lambda", "--stdin", "--insecure-storage")
    assert said.code == 0
    assert "looks like a key of RunPod" in said.err
    assert "gputui auth login runpod" in said.err
    assert "rpa_" not in said.out + said.err
    assert "plain-text file" in cli("auth", "whoami").out


@pytest.mark.parametrize(("key", "words"), [(f"'{KEY}'", "quotes"), (f"{KEY} # work", "space")])
def test_a_spoilt_key_in_the_environment_is_told_with_its_place(
    cli: Any, monkeypatch: pytest.MonkeyPatch, key: str, words: str
) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", key)
    said = cli("auth", "test", "huddle")
    assert said.code == 4
    message, hint = told(said)
    assert words in message
    assert "GPUTUI_HUDDLE_API_KEY" in message
    assert "gputui auth login huddle" in hint


def test_a_key_file_may_end_with_a_line_break(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand: Stand
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\r\n")
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY_FILE", str(file))
    monkeypatch.setenv("GPUTUI_HUDDLE_URL", stand.url)
    stand.body = '{"code": "OK", "data": {"balance": 5}}'
    assert cli("auth", "test", "huddle").code == 0
    file.write_text("\n")
    said = cli("auth", "test", "huddle")
    assert said.code == 4
    assert str(file) in told(said)[0]


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "words"),
    [
        (401, '{"error": "no such key"}', {}, 4, "Huddle refused the key (401)"),
        (403, '{"error": "forbidden"}', {}, 4, "does not allow this key"),
        (403, "error code: 1010", {"CF-Ray": "1-FRA"}, 7, "Cloudflare"),
        (407, "<html>", {"Content-Type": "text/html"}, 7, "The proxy"),
        (502, "<html>", {"Content-Type": "text/html"}, 7, "failed for a moment (502"),
        (302, "", {"Location": "http://login.hotel.test/"}, 1, "login.hotel.test"),
        (200, "<html>", {"Content-Type": "text/html"}, 1, "web page"),
        (200, '{"data": {"bal', {}, 1, "cut off"),
    ],
)
def test_an_answer_that_is_none(
    cli: Any, at: Stand, status: int, body: str, headers: dict[str, str], code: int, words: str
) -> None:
    at.status, at.body, at.headers = status, body, headers
    said = cli("auth", "test", "huddle")
    assert said.code == code
    message, hint = told(said)
    assert words in message
    assert hint


class TestDoctor:
    def test_a_provider_at_which_everything_works(self, cli: Any) -> None:
        said = cli("doctor", "--provider", "mock", "--json")
        assert said.code == 0
        rows = {row["probe"]: row for row in said.data}
        assert {rows[name]["result"] for name in ("key", "offers", "machines", "balance")} == {"ok"}
        assert rows["volumes"]["result"] == "not offered"
        assert rows["key"].keys() == {"provider", "probe", "result", "detail", "hint", "code", "took_ms"}
        shown = cli("doctor", "--provider", "mock", "--provider", "mock").out
        assert shown.splitlines()[0].split() == ["PROVIDER", "PROBE", "RESULT", "MS", "DETAIL"]
        assert shown.count("mock  ") == len(rows)

    def test_a_dead_port_is_told_at_once(self, cli: Any, unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GPUTUI_RUNPOD_API_KEY", KEY)
        monkeypatch.setenv("GPUTUI_RUNPOD_URL", f"http://127.0.0.1:{unused_port}/v2")
        began_s = time.monotonic()
        said = cli("doctor", "--all-providers", "--json")
        assert time.monotonic() - began_s < 20
        assert said.code == 7
        rows = {(row["provider"], row["probe"]): row for row in said.data}
        assert rows["mock", "key"]["result"] == "ok"
        assert (rows["runpod", "key"]["result"], rows["runpod", "key"]["code"]) == ("failed", "unreachable")
        assert f"127.0.0.1:{unused_port} refused the connection" in rows["runpod", "key"]["detail"]
        assert rows["runpod", "offers"]["result"] == "not asked"
        assert KEY not in said.out + said.err

    @pytest.mark.parametrize(("status", "result"), [(401, "not asked"), (403, "refused")])
    def test_a_refused_key_ends_with_4(self, cli: Any, at: Stand, status: int, result: str) -> None:
        at.status = status
        said = cli("doctor", "--provider", "huddle", "--json")
        assert said.code == 4
        rows = {row["probe"]: row for row in said.data}
        assert (rows["key"]["result"], rows["machines"]["result"]) == ("refused", result)
        assert rows["key"]["hint"] in cli("doctor", "--provider", "huddle").out

    def test_a_clock_that_is_off_is_a_warning(self, cli: Any, at: Stand) -> None:
        at.headers = {"Date": formatdate(time.time() + 7200 + 60, usegmt=True)}
        rows = {row["probe"]: row for row in cli("doctor", "--provider", "huddle", "--json").data}
        assert rows["clock"]["result"] == "warning"
        assert rows["clock"]["detail"] == "This machine's clock is 2 h slow."
        at.headers = {"Date": formatdate(time.time(), usegmt=True)}
        rows = {row["probe"]: row for row in cli("doctor", "--provider", "huddle", "--json").data}
        assert rows["clock"]["result"] == "ok"

    def test_no_key_and_no_such_provider(self, cli: Any) -> None:
        said = cli("doctor", "--provider", "lambda")
        assert said.code == 4
        assert "gputui auth login lambda" in said.out
        assert cli("doctor", "--provider", "nowhere").code == 3
