"""What TensorDock's refusals mean. Pure.

They come as a status, as a 200 with `{"status": 400, "error": …}`, and as an array of validation issues; and most have no
code but a sentence. Sources: texts and statuses published by public v2 clients (cloud-gpu-shopper, parle,
apartmentlines/terraform-provider-tensordock); none of them is documented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from gputui.model.errors import Conflict, Gone, NoCapacity, NotFunded, ProviderError, Rejected
from gputui.model.units import Ms
from gputui.providers.replies import Reply, default_error, message_in
from gputui.providers.tensordock.wire import PROVIDER

ORDER, START, STOP, DELETE = "order a machine", "start a machine", "stop a machine", "delete a machine"

_NOT_FUNDED = re.compile(r"need at least \$|insufficient (balance|funds)|not enough (balance|funds)", re.IGNORECASE)
# Certainly nothing was made: there is no host, no address, or not this much on one host.
_NO_CAPACITY = re.compile(
    r"no available (node|public ip)|exceeds ratio limit|out of stock|insufficient capacity|no capacity", re.IGNORECASE
)
# Something went wrong on the way. Whole locations answer so; nobody says what is left behind.
_FAILED_ON_THE_WAY = re.compile(r"unexpected error|deployment failed", re.IGNORECASE)
_WRONG_STATE = re.compile(r"\balready\b|must be (stopped|running)|therefore it cannot be", re.IGNORECASE)
_DELETED_BEFORE = re.compile(r"already (terminated|deleted)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A status, the provider's sentence, and the part of the request it is about. `is_clear` is False for a 2xx that tells of
    an error without a status, or that names a machine all the same."""

    status: int
    text: str
    field: str | None
    is_clear: bool


def error_in(reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error an answer with JSON stands for, None when it is a good one.

    A 5xx stays a fault whatever its body says, so that nothing is taken as refused that may have been done.
    """
    refusal = _refusal_in(reply)
    if refusal is None:
        return None
    if refusal.status in (400, 402, 404, 409, 422):
        said = f" It said: {refusal.text}" if refusal.text else ""
        error = _by_sentence(reply.operation, refusal, said)
        if error is not None:
            return error
    told = replace(reply, status=refusal.status, data={"error": refusal.text})
    return default_error(PROVIDER, told, now_ms)


def _refusal_in(reply: Reply) -> _Refusal | None:
    data = reply.data
    if isinstance(data, list):
        return _Refusal(reply.status, *_issues_in(data), is_clear=True) if reply.status >= 400 else None
    if not isinstance(data, dict):
        return _Refusal(reply.status, "", None, is_clear=True) if reply.status >= 400 else None
    inner = data.get("data")
    item = inner if isinstance(inner, dict) else {}
    text = message_in(data) or message_in(item)
    if reply.status >= 400:
        return _Refusal(reply.status, text, None, is_clear=True)
    # A number: the `status` of an instance is a word.
    status = data.get("status")
    told = status if type(status) is int and 400 <= status < 600 else None
    if told is None and not data.get("error") and not item.get("error") and data.get("success") is not False:
        return None
    names_one = bool(data.get("id") or item.get("id"))
    return _Refusal(told or 400, text, None, is_clear=told is not None and not names_one)


def _issues_in(issues: list[Any]) -> tuple[str, str | None]:
    """Return the sentences of validation issues, and the last word of the first one's path."""
    rows = [issue for issue in issues if isinstance(issue, dict)]
    path = rows[0].get("path") if rows else None
    words = [word for word in path if isinstance(word, str)] if isinstance(path, list) else []
    return "; ".join(filter(None, map(message_in, rows)))[:300], words[-1] if words else None


def _by_sentence(operation: str, refusal: _Refusal, said: str) -> ProviderError | None:
    """Return what the sentence and the status mean for this operation, None when they say no more than the status."""
    text, may_exist = refusal.text, not refusal.is_clear
    if refusal.status == 402 or _NOT_FUNDED.search(text):
        return NotFunded(
            f"The balance at TensorDock is too low.{said}",
            hint="TensorDock wants at least $1.00 whenever a machine is ordered.",
            may_exist=may_exist and operation == ORDER,
        )
    if operation == ORDER:
        return _order_refused(refusal, said, may_exist)
    if operation == DELETE and _DELETED_BEFORE.search(text):
        return Gone(f"TensorDock has deleted this machine before.{said}")
    if refusal.status == 409 or (refusal.status != 404 and _WRONG_STATE.search(text)):
        return Conflict(f"TensorDock refused to {operation} as things stand.{said}", may_exist=False)
    if operation == START and refusal.status == 400:
        return NoCapacity(
            f"TensorDock cannot start this machine.{said}",
            hint="Its GPU may have been given to someone else meanwhile. Try again later, or delete it and order another.",
        )
    return None


def _order_refused(refusal: _Refusal, said: str, may_exist: bool) -> ProviderError:
    if _NO_CAPACITY.search(refusal.text):
        return NoCapacity(f"TensorDock has no room for this machine there.{said}", may_exist=may_exist)
    if _FAILED_ON_THE_WAY.search(refusal.text):
        return NoCapacity(f"TensorDock could not make this machine.{said}", may_exist=True)
    if refusal.status == 404:
        return NoCapacity(f"TensorDock no longer knows this location (404).{said}", may_exist=may_exist)
    if refusal.status == 409:
        return Conflict(f"TensorDock refused to {ORDER} as things stand (409).{said}")
    return Rejected(
        f"TensorDock refused to {ORDER} ({refusal.status}).{said}", field=refusal.field, may_exist=may_exist
    )
