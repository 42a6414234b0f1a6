"""Reading requests: JSON bodies and query parameters, refused with 400 or 422."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

from gputui.sim.gate import Call
from gputui.sim.runpod.errors import Invalid, refused
from gputui.sim.runpod.schema import Check

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def body_of(call: Call, check: Check) -> dict[str, Any]:
    """Return the JSON object in a request. Raises Invalid with all that `check` finds wrong."""
    try:
        body = json.loads(call.body)
    except ValueError:
        raise refused("request body is not valid JSON") from None
    issues = check(body, "$")
    if issues:
        raise Invalid(issues)
    return dict(body)


def query_words(call: Call, name: str, known: Collection[str] = (), pattern: str = "") -> list[str]:
    """Return a comma list from the query, empty when absent; each word one of `known` or of a pattern."""
    value = call.query(name)
    if value is None:
        return []
    found = value.split(",")
    for word in found:
        if (known and word not in known) or (pattern and not re.fullmatch(pattern, word)):
            raise Invalid([f"{name}: '{word}' is not a valid value"])
    return found


def query_word(call: Call, name: str, known: Collection[str]) -> str | None:
    """Return one word of `known` from the query, None when absent."""
    value = call.query(name)
    if value is not None and value not in known:
        raise Invalid([f"{name}: '{value}' is not a valid value"])
    return value


def query_whole(call: Call, name: str, least: int, most: int | None = None) -> int | None:
    """Return a whole number from the query, None when absent."""
    value = call.query(name)
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", value) or int(value) < least or (most is not None and int(value) > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise Invalid([f"{name}: '{value}' is not a number {bounds}"])
    return int(value)


def query_flag(call: Call, name: str) -> bool | None:
    value = call.query(name)
    if value not in (None, "true", "false"):
        raise Invalid([f"{name}: '{value}' is not a boolean"])
    return None if value is None else value == "true"


def query_time_ms(call: Call, name: str) -> int | None:
    """Return an RFC 3339 moment from the query, None when absent."""
    value = call.query(name)
    return None if value is None else time_ms(value, name)


def time_ms(value: str, name: str) -> int:
    """Return an RFC 3339 moment in milliseconds. Raises Invalid."""
    # A plus sign that the client did not encode arrives as a space.
    value = value.replace(" ", "+")
    try:
        if not DATE_TIME.fullmatch(value):
            raise ValueError(value)
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError:
        raise Invalid([f"{name}: '{value}' is not a valid date-time"]) from None
