"""Reading requests as Vast.ai does: nulls count as absent, numbers may come as strings, unknown members are let by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gputui.sim.gate import Call
from gputui.sim.vastai.errors import VastError, bad_args, refused


def body_of(call: Call) -> dict[str, Any]:
    """Return the JSON object in a request; an empty body is an empty object."""
    if not call.body.strip():
        return {}
    return json_object(call.body, refused(400, "invalid_request", "Invalid json body"))


def json_object(text: str | bytes, error: VastError) -> dict[str, Any]:
    """Return a JSON object, or raise `error`."""
    try:
        value = json.loads(text)
    except ValueError:
        raise error from None
    if not isinstance(value, dict):
        raise error
    return value


def number_of(value: Any) -> float | None:
    """Return a finite number, also one in a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def number(body: Mapping[str, Any], name: str) -> float | None:
    """Return a number, None when absent."""
    value = body.get(name)
    if value is None:
        return None
    found = number_of(value)
    if found is None:
        raise bad_args(f"Invalid args: '{name}' must be a number")
    return found


def text(body: Mapping[str, Any], name: str) -> str | None:
    """Return a string, None when absent or empty."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_args(f"Invalid args: '{name}' must be a string")
    return value or None


def path_id(call: Call, name: str = "id", complaint: str = "invalid instance_id") -> int:
    """Return a whole number from the path. Raises 400 invalid_args with `complaint`."""
    value = call.path[name]
    if not value.isdecimal() or len(value) > 18:
        raise bad_args(complaint)
    return int(value)


def query_object(call: Call, name: str) -> dict[str, Any]:
    """Return a query parameter that is a JSON object, empty when absent."""
    value = call.query(name)
    if value is None:
        return {}
    return json_object(value, refused(400, "invalid_request", f"Error in query parameters: {name} is not valid JSON"))


def query_list(call: Call, name: str) -> list[Any]:
    """Return a query parameter that is a JSON array, empty when absent."""
    value = call.query(name)
    error = refused(400, "invalid_request", f"Error in query parameters: {name} is not valid JSON")
    try:
        found = json.loads(value) if value is not None else []
    except ValueError:
        raise error from None
    if not isinstance(found, list):
        raise error
    return found


def query_whole(call: Call, name: str, default: int) -> int:
    """Return a whole number from the query."""
    value = call.query(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        raise refused(400, "invalid_request", f"Error in query parameters: {name} must be an integer") from None
