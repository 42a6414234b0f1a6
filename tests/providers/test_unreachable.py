"""Connections that do not come about: real ones over loopback, with certificates made here."""

from __future__ import annotations

import asyncio
import datetime
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gputui.local.clock import SystemClock
from gputui.model.errors import ProviderError, Unreachable
from gputui.providers.exchange import clock_gap_s, clock_problem, exchanges
from gputui.providers.http import HttpClient
from gputui.providers.unreachable import why_unreachable

KEY = "fake-key-0123456789"
NOW_MS = 1_795_345_200_000


@dataclass
class Signed:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM) + self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def made(
    by: Signed | None = None, *, host: str = "localhost", days: tuple[int, int] = (-1, 30), is_ca: bool = False
) -> Signed:
    """Return a certificate for a host, valid from and until so many days from now; signed by itself unless `by` another."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fake {'authority' if is_ca else host}")])
    now = datetime.datetime.now(datetime.UTC)
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    )
    return Signed(builder.sign(signer, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def authority() -> Signed:
    return made(is_ca=True)


@pytest.fixture(autouse=True)
def trusted(authority: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust our authority alone, and go by no proxy."""
    bundle = tmp_path / "authority.pem"
    bundle.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(status: str = "200 OK", headers: Mapping[str, str] | None = None) -> Serve:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{lines}Connection: close\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()

    return answer


@asynccontextmanager
async def server(serve: Serve, folder: Path, certificate: Signed | None = None) -> AsyncIterator[int]:
    """Serve on a free loopback port, over TLS with a certificate."""
    context = None
    if certificate is not None:
        (folder / "server.pem").write_bytes(certificate.pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


async def ask(url: str) -> Any:
    client = HttpClient("acme", url, clock=SystemClock(), headers={"X-API-Key": KEY}, secrets=(KEY,))
    try:
        async with asyncio.timeout(60):
            return await client.get("things", operation="read things")
    finally:
        await client.aclose()


async def told(url: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await ask(url)
    error = caught.value
    assert KEY not in str(error)
    assert error.hint
    assert "\n" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


class TestCertificates:
    async def test_a_good_one(self, authority: Signed, tmp_path: Path) -> None:
        async with server(answering(), tmp_path, made(authority)) as port:
            assert (await ask(f"https://localhost:{port}")).status == 200

    @pytest.mark.parametrize(
        ("days", "words"), [((-10, -1), "expired by this machine's clock"), ((1, 3), "not valid yet by this machine's")]
    )
    async def test_dates_that_our_clock_contradicts(
        self, days: tuple[int, int], words: str, authority: Signed, tmp_path: Path
    ) -> None:
        began = datetime.datetime.now(datetime.UTC)
        async with server(answering(), tmp_path, made(authority, days=days)) as port:
            error = await told(f"https://localhost:{port}")
        assert isinstance(error, Unreachable)
        assert error.sent is False
        assert words in error.message
        assert any(f"{day:%Y-%m-%d}" in error.message for day in (began, datetime.datetime.now(datetime.UTC)))
        assert "clock" in (error.hint or "")

    async def test_signed_by_itself(self, tmp_path: Path) -> None:
        async with server(answering(), tmp_path, made()) as port:
            error = await told(f"https://localhost:{port}")
        assert "signed by nobody this machine trusts" in error.message
        assert "SSL_CERT_FILE" in (error.hint or "")

    async def test_signed_by_a_stranger(self, tmp_path: Path) -> None:
        async with server(answering(), tmp_path, made(made(is_ca=True))) as port:
            assert "signed by nobody" in (await told(f"https://localhost:{port}")).message

    @pytest.mark.parametrize("asked", ["localhost", "127.0.0.1"])
    async def test_of_another_host(self, asked: str, authority: Signed, tmp_path: Path) -> None:
        async with server(answering(), tmp_path, made(authority, host="other.test")) as port:
            error = await told(f"https://{asked}:{port}")
        assert f"another host than {asked}:{port}" in error.message
        assert "portal" in (error.hint or "")

    async def test_none_at_all(self, tmp_path: Path) -> None:
        async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        async with server(speak_plainly, tmp_path) as port:
            error = await told(f"https://localhost:{port}")
        assert isinstance(error, Unreachable)
        assert "(TLS)" in error.message


class TestNetwork:
    async def test_nobody_listens(self, tmp_path: Path) -> None:
        async with server(answering(), tmp_path) as port:
            pass
        error = await told(f"http://127.0.0.1:{port}")
        assert isinstance(error, Unreachable)
        assert error.sent is False
        assert f"127.0.0.1:{port} refused" in error.message

    async def test_a_name_that_nobody_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def unknown(*args: Any, **kwargs: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        error = await told("https://api.acme.invalid")
        assert isinstance(error, Unreachable)
        assert error.sent is False
        assert "api.acme.invalid, could not be looked up (DNS)" in error.message

    async def test_a_proxy_that_wants_a_login(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with server(answering("407 Proxy Authentication Required"), tmp_path) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            error = await told("https://api.acme.invalid")
        assert isinstance(error, Unreachable)
        assert "(407)" in error.message
        assert "HTTPS_PROXY" in (error.hint or "")

    @pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH])
    def test_no_path(self, number: int) -> None:
        several = OSError("All connection attempts failed")
        several.__cause__ = ExceptionGroup("several", [OSError(number, "unreachable"), OSError(number, "unreachable")])
        why = why_unreachable("acme", "api.acme.test", several, now_ms=NOW_MS, clock_gap_s=None)
        assert why.message == "There is no network path to acme at api.acme.test."

    def test_what_nobody_explains(self) -> None:
        why = why_unreachable("acme", "api.acme.test", OSError("?"), now_ms=NOW_MS, clock_gap_s=None)
        assert "cannot be reached from here (api.acme.test)" in why.message


class TestClock:
    @pytest.mark.parametrize("code", [9, 10])
    def test_a_clock_known_to_be_off_is_blamed_for_a_certificate(self, code: int) -> None:
        error = ssl.SSLCertVerificationError("certificate verify failed")
        error.verify_code = code
        why = why_unreachable("acme", "api.acme.test", error, now_ms=NOW_MS, clock_gap_s=7_200.0)
        assert why.hint == "This machine's clock is 2 h slow. Set it right."

    @pytest.mark.parametrize(
        ("headers", "gap_s"),
        [
            ({"date": formatdate(NOW_MS / 1000 + 60, usegmt=True)}, 60.0),
            ({"date": formatdate(NOW_MS / 1000 - 3600, usegmt=True)}, -3600.0),
            ({"date": formatdate(NOW_MS / 1000 - 90, usegmt=True), "age": "90"}, 0.0),
            ({}, None),
            ({"date": "yesterday"}, None),
            ({"date": formatdate(NOW_MS / 1000, usegmt=True), "age": "old"}, None),
        ],
    )
    def test_is_compared_with_the_date_of_an_answer(self, headers: dict[str, str], gap_s: float | None) -> None:
        assert clock_gap_s(headers, NOW_MS) == gap_s

    @pytest.mark.parametrize(
        ("gap_s", "words"),
        [(None, None), (299.0, None), (-299.0, None), (301.0, "5 min slow"), (-86_400.0, "24 h fast")],
    )
    def test_more_than_five_minutes_are_told(self, gap_s: float | None, words: str | None) -> None:
        problem = clock_problem(gap_s)
        assert problem == (words and f"This machine's clock is {words}.")

    async def test_an_exchange_tells_time_and_duration(self, tmp_path: Path) -> None:
        headers = {"Date": formatdate(SystemClock().now_ms() / 1000 + 7200, usegmt=True)}
        async with server(answering(headers=headers), tmp_path) as port:
            with exchanges() as heard:
                await ask(f"http://127.0.0.1:{port}")
            await ask(f"http://127.0.0.1:{port}")
        (exchange,) = heard
        assert (exchange.operation, exchange.status) == ("read things", 200)
        assert exchange.clock_gap_s == pytest.approx(7200, abs=60)
        assert 0 <= exchange.took_ms < 60_000
