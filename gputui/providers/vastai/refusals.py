"""What Vast.ai's refusals mean. Pure.

A failure is a status from 400 up, or a 200 whose `success` is false; its text is in `msg`, `message`, `detail` or `error`. A
404 can mean a thing that is missing, an offer that is taken, and a key that is refused: its words decide, so that a refused
key is never taken for machines that are gone. Sources: the error examples of Vast.ai's OpenAPI document (2026-08); codes and
texts that public clients match (dstackai/dstack, vast-ai/vast-cli). The wording of "insufficient_credit" and the body for a key
that lacks a permission are not published.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.units import Ms
from gputui.providers.replies import Reply, default_error, new_key_hint, retry_after_s
from gputui.providers.vastai import limits
from gputui.providers.vastai.wire import PROVIDER, new_contract_in

_BAD_KEY = re.compile(
    r"invalid (user|api) key|session expired|requires login|authentication credentials|two.factor", re.IGNORECASE
)
_PERMISSION = re.compile(r"permission", re.IGNORECASE)
_IN_USE = re.compile(r"\b(in use|attached|mounted)\b", re.IGNORECASE)
_THRESHOLD = re.compile(r"threshold\s*=\s*(\d+(?:\.\d+)?)")
_OFFER_TAKEN = "no_such_ask"
_MISSING = frozenset(
    {"not_found", "no_such_instance", "no_such_volume", "no_such_ssh_key", "invalid_id", "invalid_container_id"}
)


class TeamHoldsNoKeys(Rejected):
    """The account is a team's, and keys can be given to its machines only."""


def error_in(reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error an answer with JSON stands for, None when it is a good one.

    A 5xx stays a fault whatever its body says, so that nothing is taken as refused that may have been done. An order that
    failed and names a machine all the same has made one: `may_exist`.
    """
    data = reply.data if isinstance(reply.data, dict) else {}
    if reply.status < 400 and data.get("success") is not False:
        return None
    if reply.operation == limits.ATTACH_KEY and reply.status < 400 and "already" in text_in(data):
        return None
    if reply.status == 429:
        return _too_often(reply, data, now_ms)
    if reply.status >= 500:
        return default_error(PROVIDER, _worded(reply), now_ms)
    error = _meaning(reply, data, now_ms)
    if reply.operation == limits.ORDER:
        error.may_exist = _may_have_made_one(error, reply)
    return error


def _may_have_made_one(error: ProviderError, reply: Reply) -> bool:
    """Say whether a failed order left a machine: surely where it names one, perhaps where a 200 fails for unknown reasons."""
    if new_contract_in(reply.data) is not None or isinstance(error, Transient):
        return True
    return reply.status < 400 and isinstance(error, Rejected | Malformed)


def _meaning(reply: Reply, data: dict[str, Any], now_ms: Ms) -> ProviderError:
    code, text = code_in(data), text_in(data)
    said = f" It said: {text}" if text else ""
    if code == "auth_error" or _BAD_KEY.search(text):
        return AuthError(f"Vast.ai refused the key.{said}", hint=new_key_hint(PROVIDER))
    if _OFFER_TAKEN in code or _OFFER_TAKEN in text:
        return NoCapacity(f"This offer at Vast.ai is taken or withdrawn.{said}")
    if code == "resources_unavailable":
        return NoCapacity(f"The GPU of this machine is rented to someone else now.{said}")
    if code == "insufficient_credit" or reply.status in (402, 411):
        return NotFunded(f"The credit at Vast.ai is too low.{said}", hint="Add some at cloud.vast.ai, under billing.")
    if code == "team_ssh_keys_not_supported":
        return TeamHoldsNoKeys(f"An account of a team cannot hold SSH keys at Vast.ai.{said}")
    if reply.operation == limits.DELETE_KEY and code == "no_ssh_key":
        return Gone(f"Vast.ai has no such SSH key.{said}")
    if reply.operation == limits.DELETE_VOLUME and _IN_USE.search(text):
        return Conflict(f"Vast.ai refused to {reply.operation}: a machine mounts it.{said}", may_exist=False)
    if reply.status < 400:
        if code in _MISSING:
            return Gone(f"Vast.ai knows no such thing ({reply.operation}).{said}")
        if code == "deprecated_endpoint":
            return Malformed(f"Vast.ai has moved what is asked to {reply.operation}.{said}", may_exist=False)
        return Rejected(f"Vast.ai refused to {reply.operation}.{said}")
    if reply.status == 403 and code.startswith("invalid"):
        return Rejected(f"Vast.ai refused to {reply.operation} (403).{said}")
    if reply.status == 404 and reply.operation == limits.ORDER:
        return NoCapacity(f"Vast.ai knows no such offer (404).{said}")
    if reply.status == 403 or (reply.status == 401 and _PERMISSION.search(text)):
        return _not_allowed(reply, said)
    return default_error(PROVIDER, _worded(reply), now_ms)


def _not_allowed(reply: Reply, said: str) -> AuthError:
    """Return the error for a key that works but not for this, naming the group of permissions it lacks."""
    group = limits.PERMISSIONS.get(reply.operation)
    wanted = f"the permission {group}" if group else "that permission"
    return AuthError(
        f"Vast.ai does not allow this key to {reply.operation} ({reply.status}).{said}",
        lacks_permission=True,
        hint=f"Give it {wanted} at cloud.vast.ai, under Keys, or use a key that has it.",
    )


def _too_often(reply: Reply, data: dict[str, Any], now_ms: Ms) -> RateLimited:
    """Return when to ask again: as told by the body, the header, or the least time between two calls that the text names."""
    if code_in(data) == "search_quota_exceeded":
        return RateLimited(
            "Today's searches at Vast.ai are used up for this account.",
            retry_after_s=_until_reset_s(reply, now_ms),
            hint="Searching works again at midnight UTC. Everything else goes on.",
        )
    wait = data.get("retry_after")
    wait_s = float(wait) if isinstance(wait, int | float) and 0 <= wait < 86_400 else None
    if wait_s is None:
        wait_s = retry_after_s(reply.headers, now_ms)
    if wait_s is None and (threshold := _THRESHOLD.search(text_in(data))):
        wait_s = float(threshold[1])
    return RateLimited("Vast.ai asks to slow down (429).", retry_after_s=wait_s)


def _until_reset_s(reply: Reply, now_ms: Ms) -> float:
    """Return the seconds until the day's searches are counted anew: as the header says, else until midnight UTC."""
    try:
        reset_s = float(reply.headers.get("x-ratelimit-reset", ""))
    except ValueError:
        reset_s = (now_ms // 86_400_000 + 1) * 86_400
    return min(86_400.0, max(1.0, reset_s - now_ms / 1000))


def _worded(reply: Reply) -> Reply:
    """Return a reply whose text lies where the general rules look for it first."""
    return replace(reply, data={"error": text_in(reply.data)})


def code_in(data: Any) -> str:
    """Return the code of an error body, "" when it has none."""
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else ""


def text_in(data: Any) -> str:
    """Return the sentence of an error body on one line, its code where there is no sentence, "" when there is neither."""
    if not isinstance(data, dict):
        return ""
    for name in ("msg", "message", "detail", "error"):
        value = data.get(name)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:300]
    return ""
