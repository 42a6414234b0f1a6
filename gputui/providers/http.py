"""The only module that speaks HTTP: timeouts, the retry rule, redaction, and an injected transport.

Reads are retried here, a little, with back-off; writes never are: whoever sent a write decides, because only they know
the idempotency key and what may exist. Errors carry the provider's request id and never the key or the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import BaseModel

from gputui.model.clock import Clock
from gputui.model.errors import (
    AuthError,
    ConfigError,
    Malformed,
    ProviderError,
    RateLimited,
    Transient,
    Unreachable,
)
from gputui.providers.events import Patience, ServerEvent, read_until_quiet
from gputui.providers.exchange import Exchange, clock_gap_s, note
from gputui.providers.pacing import Pacer
from gputui.providers.redaction import strike_out
from gputui.providers.registry import foreign_key_hint, provider_title
from gputui.providers.replies import (
    ErrorMapper,
    PauseReader,
    Reply,
    default_error,
    parse_body,
    request_id_of,
    unreadable,
)
from gputui.providers.unreachable import is_tls, proxy_refused, why_unreachable

READ_TIMEOUT = httpx.Timeout(20.0, connect=8.0, pool=10.0)
WRITE_TIMEOUT = httpx.Timeout(60.0, connect=8.0, pool=10.0)
# The limits above start anew with every chunk; these end a call that trickles.
READ_DEADLINE_S = 40.0
# How long a request waits for its turn where the provider limits how many may be sent.
READ_TURN_S = 30.0
WRITE_TURN_S = 75.0
WRITE_DEADLINE_S = 90.0
MAX_BODY_BYTES = 64 * 1024 * 1024
READ_ATTEMPTS = 3
BACKOFF_S = (0.4, 1.2)
MAX_RETRY_AFTER_S = 15.0


class HttpClient:
    """One provider account over HTTP. Not shared between accounts; close it with `aclose`.

    `secrets` are the words to strike out of every error; `pacer` keeps to the provider's request limits, and to what
    `read_pause` finds in the headers of its answers. `shapes` tell how answers of thousands of rows look, by operation
    (see `parse_body`). Raises ConfigError for an address that would send the secrets in clear.
    """

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        clock: Clock,
        headers: Mapping[str, str],
        secrets: tuple[str, ...] = (),
        map_error: ErrorMapper | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        pacer: Pacer | None = None,
        read_pause: PauseReader | None = None,
        shapes: Mapping[str, type[BaseModel]] | None = None,
    ) -> None:
        if transport is None:
            _check_url(provider, base_url)
        self._provider = provider
        self._title = provider_title(provider)
        self._clock = clock
        self._map_error = map_error
        self._pacer = pacer
        self._read_pause = read_pause
        self._shapes = shapes or {}
        self._secrets = tuple(secret for secret in secrets if secret)
        self._foreign_key_hint = next(filter(None, (foreign_key_hint(provider, key) for key in self._secrets)), None)
        self._address = _address_of(base_url)
        self._clock_gap_s: float | None = None
        self._base_url = base_url.rstrip("/") + "/"
        self._client = httpx.AsyncClient(
            headers={"User-Agent": "gputui", "Accept": "application/json", **headers},
            timeout=READ_TIMEOUT,
            follow_redirects=False,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, *, operation: str, params: Mapping[str, Any] | None = None) -> Reply:
        """Read, with a few retries for transient failures. Raises ProviderError, never with `may_exist`."""
        return await self._read_patiently("GET", path, operation=operation, params=params)

    async def query(self, path: str, *, operation: str, json_body: Any) -> Reply:
        """Ask a question that travels as a POST and changes nothing: retried like any other read."""
        return await self._read_patiently("POST", path, operation=operation, json_body=json_body)

    async def _read_patiently(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        params: Mapping[str, Any] | None = None,
        json_body: Any = None,
    ) -> Reply:
        attempt = 0
        while True:
            try:
                return await self._once(
                    method, path, operation=operation, params=params, json_body=json_body, is_read=True
                )
            except ProviderError as error:
                error.may_exist = False
                wait_s = _wait_before_retry_s(error, attempt)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
            attempt += 1

    async def send(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> Reply:
        """Write, exactly once. An error's `may_exist` says whether it may have taken effect.

        `deadline_s` is for what is known to be answered late: so long an answer may take (None: WRITE_DEADLINE_S).
        """
        return await self._once(
            method, path, operation=operation, json_body=json_body, headers=headers, deadline_s=deadline_s
        )

    async def read_events(
        self,
        path: str,
        *,
        operation: str,
        patience: Patience,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[ServerEvent]:
        """Return what a stream of server-sent events has to say until it falls quiet; none is no error.

        Asked once, after waiting for a turn as long as for a first event. A server may keep back even its status until it
        has an event, so a connection on which nothing comes counts as a quiet one. What came before it broke is returned.
        """
        try:
            return await self._events_once(path, operation, patience, params, headers)
        except ProviderError as error:
            error.may_exist = False
            raise

    async def _events_once(
        self,
        path: str,
        operation: str,
        patience: Patience,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> list[ServerEvent]:
        if self._pacer is not None:
            await self._pacer.wait_turn(operation, deadline_s=patience.wait_s)
        timeout = httpx.Timeout(patience.wait_s, connect=READ_TIMEOUT.connect, pool=READ_TIMEOUT.pool)
        told = {"Accept": "text/event-stream", "Accept-Encoding": "identity", **(headers or {})}
        request = self._request("GET", path, params=params, headers=told, timeout=timeout)
        events: list[ServerEvent] = []
        sent_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(READ_DEADLINE_S + patience.wait_s + patience.limit_s):
                response = await self._client.send(request, stream=True)
                try:
                    if response.is_success and _is_event_stream(response):
                        self._note_pause(response, operation)
                        await read_until_quiet(response.aiter_bytes(), patience, events)
                        return events
                    body = await self._body_of(response, operation)
                finally:
                    await response.aclose()
        except httpx.ReadTimeout:
            return events
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            if any(event.data is not None for event in events):
                return events
            failure: ProviderError = self._failure(error, operation)
        else:
            reply = self._heard(response, body, operation, sent_s)
            failure = Malformed(
                f"{self._title} answered {operation} with no stream of events.",
                provider=self._provider,
                operation=operation,
                status=reply.status,
                request_id=reply.request_id,
            )
        raise failure

    async def _once(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        params: Mapping[str, Any] | None = None,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
        is_read: bool = False,
    ) -> Reply:
        timeout = READ_TIMEOUT if is_read else WRITE_TIMEOUT
        if deadline_s is not None:
            timeout = httpx.Timeout(deadline_s, connect=timeout.connect, pool=timeout.pool)
        if self._pacer is not None:
            await self._pacer.wait_turn(operation, deadline_s=READ_TURN_S if is_read else WRITE_TURN_S)
        request = self._request(method, path, params=params, headers=headers, timeout=timeout, json_body=json_body)
        sent_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(deadline_s or (READ_DEADLINE_S if is_read else WRITE_DEADLINE_S)):
                response = await self._client.send(request, stream=True)
                try:
                    body = await self._body_of(response, operation)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            failure = self._failure(error, operation)
        else:
            return self._heard(response, body, operation, sent_s)
        # Raised out here so that the HTTP library's exception, which holds the request and its key, is not attached.
        raise failure

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: httpx.Timeout,
        json_body: Any = None,
    ) -> httpx.Request:
        return self._client.build_request(
            method,
            self._base_url + path.lstrip("/"),
            params={name: value for name, value in (params or {}).items() if value is not None} or None,
            json=json_body,
            headers=dict(headers or {}),
            timeout=timeout,
        )

    def _heard(self, response: httpx.Response, body: bytes, operation: str, sent_s: float) -> Reply:
        """Read an answer, and keep to what it says of the provider's limits."""
        took_ms = round((asyncio.get_running_loop().time() - sent_s) * 1000)
        self._clock_gap_s = clock_gap_s(response.headers, self._clock.now_ms())
        note(Exchange(operation, response.status_code, took_ms, self._clock_gap_s))
        self._note_pause(response, operation)
        try:
            return self._read(response, body, operation)
        except RateLimited as error:
            if self._pacer is not None and error.retry_after_s is not None:
                self._pacer.slow_down(error.retry_after_s, operation)
            raise

    def _note_pause(self, response: httpx.Response, operation: str) -> None:
        pause_s = self._read_pause(response.headers) if self._read_pause is not None else None
        if self._pacer is not None and pause_s is not None:
            self._pacer.slow_down(pause_s, operation)

    async def _body_of(self, response: httpx.Response, operation: str) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise Malformed(
                    f"{self._title} sent an absurdly large answer ({operation}).",
                    provider=self._provider,
                    operation=operation,
                    status=response.status_code,
                    request_id=request_id_of(response.headers),
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _failure(self, error: Exception, operation: str) -> ProviderError:
        """Return what it means that no whole answer came."""
        title = self._title
        facts: dict[str, Any] = {"provider": self._provider, "operation": operation}
        if is_tls(error) or isinstance(error, httpx.ConnectError):
            now_ms = self._clock.now_ms()
            why = why_unreachable(title, self._address, error, now_ms=now_ms, clock_gap_s=self._clock_gap_s)
            return Unreachable(why.message, hint=why.hint, sent=not isinstance(error, httpx.ConnectError), **facts)
        if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
            return Unreachable(
                f"{title} did not accept a connection in time.",
                sent=False,
                hint=f"Check the network, and the proxy or URL set for {title}.",
                **facts,
            )
        if isinstance(error, httpx.ProxyError):
            why = proxy_refused(title, str(error))
            return Unreachable(why.message, hint=why.hint, sent=False, **facts)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.InvalidURL):
            return Unreachable(
                f"The request to {title} could not be put together ({operation}).",
                sent=False,
                hint="Check the URL set for this provider.",
                **facts,
            )
        if isinstance(error, httpx.DecodingError):
            return Malformed(
                f"{title} sent an answer that cannot be decoded ({operation}).", hint="Try again.", **facts
            )
        in_time = isinstance(error, httpx.TimeoutException | TimeoutError)
        what = f"{title} did not answer in time" if in_time else f"The connection to {title} broke"
        return Unreachable(
            f"{what} ({operation}).", sent=True, hint="Try again; if it lasts, check the network.", **facts
        )

    def _read(self, response: httpx.Response, body: bytes, operation: str) -> Reply:
        data, is_page = parse_body(body, self._shapes.get(operation))
        reply = Reply(
            operation=operation,
            status=response.status_code,
            data=data,
            is_page=is_page,
            request_id=request_id_of(response.headers),
            headers=response.headers,
        )
        error = self._map_error(reply) if self._map_error and data is not None else None
        if error is None and response.is_success:
            if not is_page:
                return reply
            error = unreadable(self._title, reply)
        error = error or default_error(self._provider, reply, self._clock.now_ms())
        error.provider = self._provider
        error.operation = operation
        error.status = response.status_code
        error.request_id = reply.request_id
        if isinstance(error, AuthError) and not error.lacks_permission:
            error.hint = self._foreign_key_hint or error.hint
        error.message = strike_out(error.message, self._secrets)
        error.args = (error.message,)
        raise error


def _wait_before_retry_s(error: ProviderError, attempt: int) -> float | None:
    """Return how long to wait before a read is tried again, None when it is not."""
    if attempt >= READ_ATTEMPTS - 1:
        return None
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= MAX_RETRY_AFTER_S else None
    if isinstance(error, RateLimited | Transient) or (isinstance(error, Unreachable) and error.sent):
        return BACKOFF_S[attempt]
    return None


def _is_event_stream(response: httpx.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"


def _address_of(base_url: str) -> str:
    """Return the host of an address, with its port where it is not the usual one."""
    url = httpx.URL(base_url)
    return f"{url.host}:{url.port}" if url.port else url.host


def _check_url(provider: str, base_url: str) -> None:
    """Raise ConfigError unless the address is HTTPS, or plain HTTP to this very machine."""
    with contextlib.suppress(httpx.InvalidURL):
        url = httpx.URL(base_url)
        if url.host and (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))):
            return
    raise ConfigError(
        f"The URL set for {provider_title(provider)} cannot be used: it is not an https:// address.",
        hint="A key is never sent in clear. Plain http:// is accepted for this machine (127.0.0.1) only.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
