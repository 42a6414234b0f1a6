"""What RunPod's refusals mean. Pure.

Errors are `{title, status, detail, errors?}`. That nothing is free comes as a 400 like a broken rule, told apart by its
sentence alone. Sources: REST API 2.0.0, create a pod (what each status means); sentences answered by live servers of this
and the older APIs, as published by public clients (runpod/runpod-python, skypilot-org/skypilot, dstackai/dstack).
"""

from __future__ import annotations

import re
from typing import Any

from gputui.model.errors import (
    Conflict,
    Malformed,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.units import Ms
from gputui.providers.replies import Reply, default_error, message_in, retry_after_s
from gputui.providers.runpod import limits
from gputui.providers.runpod.wire import PROVIDER

_NO_CAPACITY = re.compile(
    r"no longer any instances|\bno instances\b|not have the resources|could not find any pods|not enough free gpus"
    r"|supply_constraint|insufficient (capacity|resources|gpus?|stock)",
    re.IGNORECASE,
)
_NOT_FUNDED = re.compile(
    r"spending limit|insufficient[ _](funds|credits?|balance)|not enough (funds|credits?)|\bbalance\b", re.IGNORECASE
)
_NO_SUCH_PATH = re.compile(r"requested path was not found", re.IGNORECASE)


def error_in(reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error an answer with JSON stands for, None when it is a good one.

    429 and 5xx stay what they are whatever the body says, so that nothing is taken as refused that may have been done.
    """
    status, operation = reply.status, reply.operation
    if 200 <= status < 300:
        return None
    said = _said(reply.data)
    if status == 429:
        wait_s = retry_after_s(reply.headers, now_ms) or limits.pause_in(reply.headers)
        return RateLimited(f"RunPod asks to slow down (429).{said}", retry_after_s=wait_s)
    if status in (400, 409) and _NO_CAPACITY.search(said):
        return NoCapacity(f"RunPod has no such machine free now.{said}")
    if status == 402 or (status in (400, 409) and _NOT_FUNDED.search(said)):
        return NotFunded(f"The balance or spending limit at RunPod is too low to {operation}.{said}")
    if status == 404 and _NO_SUCH_PATH.search(said):
        return Malformed(
            f"There is no such path at this address (404, {operation}).", hint="Check the URL set for RunPod."
        )
    if status == 409:
        return Conflict(
            f"RunPod refused to {operation} as things stand (409).{said}", may_exist=operation in limits.MAKERS
        )
    if status == 413:
        return Rejected(
            f"The request to {operation} is too large for RunPod (413).",
            field="command",
            hint="Command and variables together may have 100 KiB. Put what is long into the image or fetch it.",
        )
    if status in (400, 422):
        return Rejected(f"RunPod refused to {operation} ({status}).{said}")
    return default_error(PROVIDER, reply, now_ms)


def graphql_error_in(reply: Reply) -> ProviderError | None:
    """Return the error of an answer of the older GraphQL API that is a passing fault of RunPod's own.

    Its other errors come as a 200 beside whatever could be answered, and say that this cannot be told.
    """
    errors = reply.data.get("errors") if isinstance(reply.data, dict) else None
    for error in errors if isinstance(errors, list) else []:
        extensions = error.get("extensions") if isinstance(error, dict) else None
        if isinstance(extensions, dict) and extensions.get("code") == "INTERNAL_SERVER_ERROR":
            return Transient(f"RunPod failed for a moment ({reply.operation}).")
    return None


def _said(data: Any) -> str:
    """Return the sentence of an error body and the first of its validation failures."""
    text = message_in(data)
    listed = data.get("errors") if isinstance(data, dict) else None
    failures = [failure for failure in listed if isinstance(failure, str)][:3] if isinstance(listed, list) else []
    text = "; ".join(filter(None, [text, *(" ".join(failure.split())[:150] for failure in failures)]))
    return f" It said: {text}" if text else ""
