"""What an answer is and what it means by its status alone. A provider's own words come on top of it, in its `refusals`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from pydantic_core import from_json

from gputui.model.errors import AuthError, Gone, Malformed, ProviderError, RateLimited, Rejected, Transient
from gputui.providers.registry import provider_title
from gputui.providers.unreachable import Why, proxy_refused


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


def parse_body(body: bytes, shape: type[BaseModel] | None = None) -> tuple[Any, bool]:
    """Return (parsed JSON or None, whether there was text that is not JSON).

    An answer of the `shape` has its members read as they are in that, in half the time of one after the other. Any other
    is plain JSON.
    """
    if not body.strip():
        return None, False
    if shape is not None:
        with contextlib.suppress(ValueError):
            answer = shape.model_validate_json(body)
            return {**vars(answer), **(answer.model_extra or {})}, False
    with contextlib.suppress(ValueError):
        return from_json(body), False  # twice as fast, but it refuses a little that `json` takes
    try:
        return json.loads(body), False
    except (ValueError, RecursionError):
        return None, True


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
    title, status, operation = provider_title(provider), reply.status, reply.operation
    facts: dict[str, Any] = {
        "provider": provider,
        "operation": operation,
        "request_id": reply.request_id,
        "status": status,
    }
    text = message_in(reply.data)
    said = f" It said: {text}" if text else ""
    if status == 407 or (status in (401, 403) and reply.is_page):
        why = _turned_away(title, reply)
        return Transient(why.message, hint=why.hint, may_exist=False, **facts)
    if status == 401:
        return AuthError(f"{title} refused the key ({status}).{said}", hint=new_key_hint(provider), **facts)
    if status == 403:
        return AuthError(
            f"{title} does not allow this key to {operation} (403).{said}",
            lacks_permission=True,
            hint="Give the key that permission at the provider, or use a key that has it.",
            **facts,
        )
    if status == 404 and reply.data is not None:
        return Gone(f"{title} knows no such thing (404, {operation}).{said}", **facts)
    if status == 429:
        return RateLimited(
            f"{title} asks to slow down (429).", retry_after_s=retry_after_s(reply.headers, now_ms), **facts
        )
    if status >= 500 or status == 408:
        return Transient(
            f"{title} failed for a moment ({status}, {operation}).{said}", hint="Try again in a minute.", **facts
        )
    if 300 <= status < 400:
        return Malformed(
            f"{title} sent us elsewhere instead of answering {operation} ({status}{_target_of(reply)}).",
            hint=_portal_hint(title),
            **facts,
        )
    if reply.data is None:
        return Malformed(
            f"{title} answered {status} to {operation} with something that makes no sense.",
            hint=f"Check the proxy and the URL set for {title}.",
            **facts,
        )
    return Rejected(f"{title} refused to {operation} ({status}).{said}", **facts)


def unreadable(title: str, reply: Reply) -> Malformed:
    """Return the error for a success whose body is no JSON."""
    if "html" in reply.headers.get("content-type", "").lower():
        return Malformed(f"A web page came instead of {title}'s answer to {reply.operation}.", hint=_portal_hint(title))
    return Malformed(
        f"The answer of {title} to {reply.operation} is not JSON, or was cut off on the way.",
        hint="Try again; if it stays so, check whether a proxy sits in between.",
    )


def new_key_hint(provider: str) -> str:
    """Return what to do about a key that is refused."""
    return f"It may be mistyped, expired or revoked. Make a new one there and run: gputui auth login {provider}"


def _portal_hint(title: str) -> str:
    return f"Log in to this network's portal if it has one; else check the proxy and the URL set for {title}."


def _turned_away(title: str, reply: Reply) -> Why:
    """Return who answered in the provider's place, and the next step; it says nothing about the key."""
    status = reply.status
    if status == 407:
        return proxy_refused(title, str(status))
    if "cf-ray" in reply.headers:
        return Why(
            f"Cloudflare, in front of {title}, turned this request away ({status}).",
            "The key may be fine. Try again later, or from another network without a VPN.",
        )
    return Why(
        f"Something between here and {title} answered {status} with a page: a proxy or a firewall.",
        "The key may be fine. Check the network path.",
    )


def _target_of(reply: Reply) -> str:
    """Return the host an answer redirects to, in words; "" where it names none."""
    with contextlib.suppress(ValueError):
        host = urlsplit(reply.headers.get("location", "")).hostname
        return f" to {host}" if host else ""
    return ""


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
