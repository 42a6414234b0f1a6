"""Reading requests: JSON bodies and query parameters, refused with 400 as Huddle does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gputui.sim.gate import ApiError, Call


def bad(text: str) -> ApiError:
    """Return a 400."""
    return ApiError(400, "BAD_REQUEST", text)


def not_found(what: str, item_id: str) -> ApiError:
    """Return a 404."""
    return ApiError(404, "NOT_FOUND", f"no {what} {item_id}")


def conflict(text: str) -> ApiError:
    """Return a 409."""
    return ApiError(409, "CONFLICT", text)


def body_of(call: Call) -> dict[str, Any]:
    """Return the JSON object in a request; an empty body is an empty object."""
    if not call.body.strip():
        return {}
    try:
        body = json.loads(call.body)
    except ValueError:
        raise bad("the body is not JSON") from None
    if not isinstance(body, dict):
        raise bad("the body must be a JSON object")
    return body


def text(body: Mapping[str, Any], name: str) -> str:
    """Return a required, non-empty string."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad(f"{name} is required")
    return value


def optional_text(body: Mapping[str, Any], name: str) -> str:
    """Return a string that may be absent, null or empty."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise bad(f"{name} must be a string")
    return value or ""


def whole(body: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """Return a required whole number within limits."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad(f"{name} must be a whole number from {least} to {most}")
    return value


def boolean(body: Mapping[str, Any], name: str, default: bool) -> bool:
    """Return true or false, `default` when absent."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise bad(f"{name} must be true or false")
    return value


def texts(body: Mapping[str, Any], name: str) -> list[str]:
    """Return a required list of at least one string."""
    value = body.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise bad(f"{name} must be a list of at least one string")
    return value


def query_number(call: Call, name: str) -> float | None:
    """Return a number from the query, None when absent."""
    value = call.query(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        raise bad(f"{name} must be a number") from None


def query_whole(call: Call, name: str, default: int, most: int) -> int:
    """Return a positive whole number from the query, at most `most`."""
    value = call.query(name)
    if value is None:
        return default
    if not value.isdecimal() or int(value) < 1:
        raise bad(f"{name} must be a positive whole number")
    return min(int(value), most)


def query_flag(call: Call, name: str, default: bool) -> bool:
    """Return true or false from the query."""
    value = call.query(name)
    if value is None:
        return default
    if value.lower() not in ("true", "false"):
        raise bad(f"{name} must be true or false")
    return value.lower() == "true"
