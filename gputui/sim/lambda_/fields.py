"""Reading requests: JSON bodies, refused with 400 global/invalid-parameters as "<field>: <what is wrong>"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gputui.sim.gate import Call
from gputui.sim.lambda_.data import REGIONS
from gputui.sim.lambda_.errors import invalid


def body_of(call: Call) -> dict[str, Any]:
    """Return the JSON object in a request."""
    try:
        body = json.loads(call.body)
    except ValueError:
        raise invalid("Invalid request data.") from None
    if not isinstance(body, dict):
        raise invalid("Invalid request data.")
    return body


def text(body: Mapping[str, Any], name: str, least: int = 0, most: int | None = None, pattern: str = "") -> str:
    """Return a required string within limits of length that matches a pattern."""
    if name not in body:
        raise invalid(f"{name}: Field required")
    value = body[name]
    if not isinstance(value, str):
        raise invalid(f"{name}: Input should be a valid string")
    if len(value) < least:
        raise invalid(f"{name}: String should have at least {least} characters")
    if most is not None and len(value) > most:
        raise invalid(f"{name}: String should have at most {most} characters")
    if pattern and not re.fullmatch(pattern, value):
        raise invalid(f"{name}: String should match pattern '{pattern}'")
    return value


def optional_text(
    body: Mapping[str, Any], name: str, least: int = 0, most: int | None = None, pattern: str = ""
) -> str | None:
    """Return a string as `text` does, None when it is absent or null."""
    return None if body.get(name) is None else text(body, name, least, most, pattern)


def texts(body: Mapping[str, Any], name: str) -> list[str]:
    """Return a required list of strings."""
    if name not in body:
        raise invalid(f"{name}: Field required")
    value = body[name]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{name}: Input should be a list of strings")
    return value


def optional_texts(body: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of strings, empty when absent or null."""
    return [] if body.get(name) is None else texts(body, name)


def objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects, empty when absent or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"{name}: Input should be a list of objects")
    return value


def region(body: Mapping[str, Any], name: str) -> str:
    """Return a required region code."""
    value = text(body, name)
    if value not in REGIONS:
        raise invalid(f"{name}: Region {value} does not exist")
    return value


def query_time_ms(call: Call, name: str) -> int | None:
    """Return an ISO 8601 moment from the query, None when absent; without an offset it is UTC."""
    value = call.query(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(f"{name}: Input should be a valid datetime") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
