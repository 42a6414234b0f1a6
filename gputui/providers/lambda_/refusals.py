"""What Lambda's error codes mean. Only `code` is stable; messages change. Pure.

Source: Lambda Cloud API 1.10.0, error schemas. `global/unknown`, `provider/…` and the codes of keys in use are of version 1.5.3
and still seen. The status that goes with some codes differs by document, so a known code counts before the status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gputui.model.errors import AuthError, Conflict, Malformed, NoCapacity, ProviderError, Rejected, Transient
from gputui.model.units import Ms
from gputui.providers.lambda_.wire import PROVIDER
from gputui.providers.replies import Reply, default_error, message_in

_MISSING = frozenset({"global/object-does-not-exist", "global/not-found"})
_IN_USE = frozenset(
    {"filesystems/filesystem-in-use", "ssh-keys/key-in-use", "firewall-rulesets/firewall-ruleset-in-use"}
)
# Faults of Lambda's own, whatever the status: a launch answered so may have made a machine.
_FAULTS = frozenset({"global/internal-error", "global/unknown"})


def error_in(reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error an answer with JSON stands for, None when it is a good one.

    429 and 5xx stay what they are whatever the body says, so that nothing is taken as refused that may have been done.
    An unknown code counts as its status does.
    """
    code = _code_in(reply.data)
    is_success = 200 <= reply.status < 300
    if is_success and code is None:
        return None
    if reply.status == 429 or reply.status >= 500:
        return default_error(PROVIDER, reply, now_ms)
    if found := _meaning(code or "", reply, now_ms):
        return found
    if is_success:
        return Malformed("Lambda's answer says both that it worked and that it failed.")
    if reply.status == 409:
        return Conflict(f"Lambda refused to {reply.operation} as things stand (409).{_said(reply)}")
    return default_error(PROVIDER, reply, now_ms)


def _meaning(code: str, reply: Reply, now_ms: Ms) -> ProviderError | None:
    """Return the error of a known code."""
    said = _said(reply)
    if code == "instance-operations/launch/insufficient-capacity":
        return NoCapacity(f"Lambda has no such machine free now.{said}")
    if code == "global/quota-exceeded":
        return Rejected(
            f"The limit of this Lambda account is reached.{said}",
            field="quota",
            hint="End something there, or ask Lambda's support for a higher limit.",
        )
    if code == "global/account-inactive":
        return AuthError(f"The account at Lambda is inactive.{said}", hint="The key may be fine. See cloud.lambda.ai.")
    if code == "global/invalid-address":
        return Rejected(
            f"Lambda does not accept the account's billing address.{said}",
            field="billing address",
            hint="Correct it at cloud.lambda.ai, under billing.",
        )
    if code == "global/conflict":
        return Conflict(f"Lambda refused to {reply.operation} as things stand.{said}")
    if code in _IN_USE:
        return Conflict(f"Lambda refused to {reply.operation}: it is in use.{said}", may_exist=False)
    if code in _MISSING:
        return default_error(PROVIDER, replace(reply, status=404), now_ms)
    if code == "global/invalid-api-key":
        return default_error(PROVIDER, replace(reply, status=401), now_ms)
    if code in _FAULTS or code.startswith("provider/"):
        return Transient(f"Lambda failed for a moment ({code}, {reply.operation}).{said}")
    return None


def _code_in(data: Any) -> str | None:
    """Return the code of an error body; "" for an error without one, None when the body is none."""
    if not isinstance(data, dict) or "error" not in data:
        return None
    error = data["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def _said(reply: Reply) -> str:
    text = message_in(reply.data)
    return f" It said: {text}" if text else ""
