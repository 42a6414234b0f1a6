"""What an answer is and what it means by its status alone. A provider's own words come on top of it, in its `refusals`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from gputui.model.errors import AuthError, Gone, Malformed, ProviderError, RateLimited, Rejected, Transient


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to `operation`: its status, parsed JSON and the provider's request id. Header names are in lower case.

    `data` is None for an empty body, and for one that is not JSON, where `is_page` is True (an HTML page, cut-off JSON).
    """

    operation: str
    status: int
    data: Any
    is_page: bool
    request_id: str | None
    headers: Mapping[str, str]


# What an answer with JSON means to this provider: an error, or None for what its HTTP status says by itself.
# It is asked about 2xx answers, too.
ErrorMapper = Callable[[Reply], ProviderError | None]
# For how many seconds nobody may ask any more, as told by the headers of any answer (lower case); None: no such word.
PauseReader = Callable[[Mapping[str, str]], float | None]


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Return the seconds a `Retry-After` header asks for (both of its forms), None when absent or unreadable."""
    value = headers.get("retry-after")
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_ms / 1000)
    return None


def default_error(provider: str, reply: Reply, now_ms: int) -> ProviderError:
    """Class an answer by its status alone. A page of a proxy or firewall is never read as a dead key."""
    status, operation = reply.status, reply.operation
    facts: dict[str, Any] = {
        "provider": provider,
        "operation": operation,
        "request_id": reply.request_id,
        "status": status,
    }
    text = message_in(reply.data)
    said = f" It said: {text}" if text else ""
    if status == 407 or (status in (401, 403) and reply.is_page):
        return Transient(
            f"Something between here and {provider} answered {status} with a page: a proxy or a firewall.",
            hint="The key may be fine. Check the network path.",
            may_exist=False,
            **facts,
        )
    if status == 401:
        return AuthError(
            f"{provider} refused the key (401).{said}", hint=f"Check it with: gputui auth test {provider}", **facts
        )
    if status == 403:
        return AuthError(f"{provider} does not allow this key to {operation} (403).{said}", **facts)
    if status == 404 and reply.data is not None:
        return Gone(f"{provider} knows no such thing (404, {operation}).{said}", **facts)
    if status == 429:
        return RateLimited(
            f"{provider} asks to slow down (429).", retry_after_s=retry_after_s(reply.headers, now_ms), **facts
        )
    if status >= 500 or status == 408:
        return Transient(f"{provider} failed for a moment ({status}, {operation}).{said}", **facts)
    if reply.data is None or status < 400:
        return Malformed(f"{provider} answered {status} to {operation} with something that makes no sense.", **facts)
    return Rejected(f"{provider} refused to {operation} ({status}).{said}", **facts)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the provider's id for this request, from the headers commonly used for it."""
    for name in ("x-request-id", "request-id", "cf-ray"):
        if value := headers.get(name):
            return value[:128]
    return None


def message_in(data: Any) -> str:
    """Return the human sentence in an error body, short and on one line; empty when there is none."""
    if not isinstance(data, dict):
        return ""
    for name in ("error", "message", "detail", "title", "msg"):
        value = data.get(name)
        if isinstance(value, dict):
            value = value.get("message") or value.get("error")
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:300]
    return ""
