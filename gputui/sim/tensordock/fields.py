"""Reading JSON bodies: everything wrong with one is collected and refused at once, in the shape of a zod error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gputui.sim.gate import ApiError, Call

_ABSENT = object()


class Invalid(ApiError):
    """A body that makes no sense: 400 with one issue for each thing wrong."""

    def __init__(self, issues: list[dict[str, Any]]) -> None:
        super().__init__(400, "INVALID", "invalid body")
        self.issues = issues


@dataclass(frozen=True, slots=True)
class Field:
    """A value in a body, where it stands, and the issues found in the body so far. Wrong values read as empty ones."""

    value: Any
    path: tuple[str | int, ...]
    issues: list[dict[str, Any]]

    @property
    def is_given(self) -> bool:
        """Say whether it is there at all."""
        return self.value is not _ABSENT

    def __getitem__(self, name: str) -> Field:
        """Return a member, absent when this is no object or has none of that name."""
        value = self.value.get(name, _ABSENT) if isinstance(self.value, dict) else _ABSENT
        return Field(value, (*self.path, name), self.issues)

    def refuse(self, message: str, code: str = "custom", **facts: Any) -> None:
        """Note that something is wrong with it."""
        self.issues.append({"code": code, **facts, "path": list(self.path), "message": message})

    def text(self) -> str:
        """Return a required, non-empty string."""
        if not isinstance(self.value, str):
            self._mistyped("string")
            return ""
        if not self.value:
            self.refuse("String must contain at least 1 character(s)", "too_small", minimum=1, type="string")
        return self.value

    def one_of(self, options: tuple[str, ...]) -> str:
        """Return a required string out of a few."""
        if isinstance(self.value, str) and self.value not in options:
            listed = " | ".join(f"'{option}'" for option in options)
            message = f"Invalid enum value. Expected {listed}, received '{self.value}'"
            self.refuse(message, "invalid_enum_value", received=self.value, options=list(options))
            return options[0]
        return self.text() or options[0]

    def whole(self, least: int, most: int = 10**9) -> int:
        """Return a required whole number within limits."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self._mistyped("number")
            return least
        if not least <= self.value <= most:
            code, name = ("too_small", "minimum") if self.value < least else ("too_big", "maximum")
            limit = least if self.value < least else most
            words = "greater than or equal" if self.value < least else "less than or equal"
            self.refuse(f"Number must be {words} to {limit}", code, type="number", inclusive=True, **{name: limit})
            return least
        return self.value

    def boolean(self, default: bool) -> bool:
        """Return true or false, `default` when absent."""
        if not self.is_given:
            return default
        if not isinstance(self.value, bool):
            self._mistyped("boolean")
            return default
        return self.value

    def members(self) -> list[tuple[str, Field]]:
        """Return the members of a required object."""
        if not isinstance(self.value, dict):
            self._mistyped("object")
            return []
        return [(name, self[name]) for name in self.value]

    def items(self) -> list[Field]:
        """Return the items of an array, none when absent."""
        if not self.is_given:
            return []
        if not isinstance(self.value, list):
            self._mistyped("array")
            return []
        return [Field(item, (*self.path, index), self.issues) for index, item in enumerate(self.value)]

    def done(self) -> None:
        """Raise Invalid if anything in the body was found wrong."""
        if self.issues:
            raise Invalid(self.issues)

    def _mistyped(self, expected: str) -> None:
        received = _type_of(self.value)
        message = "Required" if received == "undefined" else f"Expected {expected}, received {received}"
        self.refuse(message, "invalid_type", expected=expected, received=received)


def body_of(call: Call) -> Field:
    """Return the JSON value in a request. Raises ApiError 400 when there is none."""
    try:
        return Field(json.loads(call.body), (), [])
    except ValueError:
        raise ApiError(400, "BAD_JSON", "Invalid JSON in request body") from None


def _type_of(value: Any) -> str:
    if value is _ABSENT:
        return "undefined"
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
