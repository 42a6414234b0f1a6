"""The errors of the RunPod API, and how any error looks on the wire: problem+json."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from gputui.sim.gate import Answer, ApiError

NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)

_PROBLEM_TYPE = {"content-type": "application/problem+json"}
_TITLES = {400: "Bad Request", 413: "Content Too Large", 422: "Unprocessable Entity"}
_OF_THE_WORLD = {
    "RATE_LIMITED": "rate limit exceeded for the minute window",
    "INTERNAL": "internal server error",
    "BAD_GATEWAY": "upstream error",
    "UNAVAILABLE": "service unavailable",
    "UNAUTHORIZED": "invalid bearer token",
    "NOT_FOUND": "The requested path was not found.",
}


class Invalid(ApiError):
    """A request that fails validation; `issues` says where and how."""

    def __init__(self, issues: Sequence[str]) -> None:
        super().__init__(422, "", "Request validation failed.")
        self.issues = tuple(issues)


def refused(text: str, status: int = 400) -> ApiError:
    """Return a refusal whose detail is `text`."""
    return ApiError(status, "", text)


def not_found(what: str = "resource") -> ApiError:
    return ApiError(404, "", f"{what} not found")


def forbidden() -> ApiError:
    return ApiError(403, "", "access denied")


def failed(error: ApiError) -> Answer:
    """Return an error as the API sends it; one of the world's own faults becomes what RunPod would say."""
    title = _TITLES.get(error.status) or HTTPStatus(error.status).phrase
    shown: dict[str, Any] = {
        "title": title,
        "status": error.status,
        "detail": _OF_THE_WORLD.get(error.code, error.text),
    }
    if isinstance(error, Invalid):
        shown["errors"] = list(error.issues)
    return Answer(shown, error.status, _PROBLEM_TYPE)


def plain(status: int, text: str) -> Answer:
    """Return an answer of Cloudflare's in plain text."""
    return Answer(text.encode(), status, {"content-type": "text/plain; charset=UTF-8"})
