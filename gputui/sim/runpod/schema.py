"""What a request body may look like: small checks that put together say everything that is wrong with a JSON value."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any, str], list[str]]
"""Takes a value and where it stands ("$.gpu"); returns what is wrong with it, "<where>: <what>"."""


def text(least: int = 0, pattern: str = "") -> Check:
    """Accept a string of at least so many characters that matches a pattern as a whole."""

    def check(value: Any, at: str) -> list[str]:
        if not isinstance(value, str):
            return [_wrong_type(value, at, "string")]
        if len(value) < least:
            return [f"{at}: minLength: got {len(value)}, want {least}"]
        if pattern and not re.fullmatch(pattern, value):
            return [f"{at}: '{value}' does not match pattern '{pattern}'"]
        return []

    return check


def whole(least: int, most: int | None = None) -> Check:
    """Accept a whole number within bounds."""

    def check(value: Any, at: str) -> list[str]:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not is_whole or isinstance(value, bool):
            return [_wrong_type(value, at, "integer")]
        if value < least:
            return [f"{at}: minimum: got {value}, want {least}"]
        if most is not None and value > most:
            return [f"{at}: maximum: got {value}, want {most}"]
        return []

    return check


def flag(value: Any, at: str) -> list[str]:
    """Accept true and false."""
    return [] if isinstance(value, bool) else [_wrong_type(value, at, "boolean")]


def one_of(*words: str) -> Check:
    """Accept one of some words."""

    def check(value: Any, at: str) -> list[str]:
        if not isinstance(value, str):
            return [_wrong_type(value, at, "string")]
        quoted = ", ".join(f"'{word}'" for word in words)
        return [] if value in words else [f"{at}: value must be one of {quoted}"]

    return check


def or_null(check: Check) -> Check:
    """Accept null and whatever `check` does."""
    return lambda value, at: [] if value is None else check(value, at)


def items(check: Check, most: int | None = None) -> Check:
    """Accept a list of at most so many good items."""

    def check_all(value: Any, at: str) -> list[str]:
        if not isinstance(value, list):
            return [_wrong_type(value, at, "array")]
        if most is not None and len(value) > most:
            return [f"{at}: maxItems: got {len(value)}, want {most}"]
        return [issue for place, item in enumerate(value) for issue in check(item, f"{at}[{place}]")]

    return check_all


def mapping(check: Check) -> Check:
    """Accept an object of any names whose values are good."""

    def check_all(value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [_wrong_type(value, at, "object")]
        return [issue for name, item in value.items() for issue in check(item, f"{at}.{name}")]

    return check_all


def fields(required: Collection[str], checks: Mapping[str, Check], least: int = 0) -> Check:
    """Accept an object with these fields and no other, of which at least `least` are there."""

    def check_all(value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [_wrong_type(value, at, "object")]
        issues = [f"{at}: missing property '{name}'" for name in required if name not in value]
        strange = [name for name in value if name not in checks]
        if strange:
            quoted = ", ".join(f"'{name}'" for name in strange)
            issues.append(f"{at}: additional properties {quoted} not allowed")
        if len(value) < least:
            issues.append(f"{at}: minProperties: got {len(value)}, want {least}")
        for name in value.keys() & checks.keys():
            issues += checks[name](value[name], f"{at}.{name}")
        return issues

    return check_all


def _wrong_type(value: Any, at: str, wanted: str) -> str:
    return f"{at}: got {_TYPE_NAMES[type(value)]}, want {wanted}"


_TYPE_NAMES = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null",
}  # fmt: skip
