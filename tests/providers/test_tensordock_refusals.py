"""What TensorDock's refusals mean: by status, inside a 200, as validation issues, and by their sentences."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.providers.replies import Reply
from gputui.providers.tensordock import refusals

NOW_MS = 1_778_488_937_000


def error_of(operation: str, status: int, data: Any) -> ProviderError | None:
    return refusals.error_in(Reply(operation, status, data, False, "req-1", {"retry-after": "3"}), NOW_MS)


@pytest.mark.parametrize("as_ok", [False, True], ids=["as its status", "inside a 200"])
@pytest.mark.parametrize(
    ("status", "text", "kind", "may_exist"),
    [
        (400, "No available nodes found", NoCapacity, False),
        (400, "No available public IPs on hostnode", NoCapacity, False),
        (400, "ram per gpu exceeds ratio limit", NoCapacity, False),
        (400, "An unexpected error occurred: unexpected error during deployment", NoCapacity, True),
        (400, "virtual machine deployment failed", NoCapacity, True),
        (404, "Location not found", NoCapacity, False),
        (400, "You need at least $1 to deploy", NotFunded, False),
        (402, "Payment required", NotFunded, False),
        (400, "Invalid image", Rejected, False),
        (422, "Invalid image", Rejected, False),
        (409, "Busy", Conflict, True),
        (401, "Unauthorized", AuthError, False),
        (403, "Forbidden", AuthError, False),
        (429, "Slow down", RateLimited, False),
        (500, "No available nodes found", Transient, True),
        (503, "need at least $1", Transient, True),
    ],
)
def test_an_order_refused(status: int, text: str, kind: type[ProviderError], may_exist: bool, as_ok: bool) -> None:
    body = {"status": status, "error": text}
    error = error_of(refusals.ORDER, 200 if as_ok else status, body)
    assert type(error) is kind
    assert error.may_exist is may_exist
    if not isinstance(error, RateLimited):
        assert text in error.message


@pytest.mark.parametrize(
    "body",
    [
        {"error": "Weird"},
        {"data": {"error": "Weird"}},
        {"success": False},
        {"status": 400, "error": "Weird", "data": {"id": "made-1"}},
        {"id": "made-1", "status": 400, "error": "No available nodes found"},
    ],
)
def test_a_2xx_that_contradicts_itself_may_have_made_one(body: Any) -> None:
    error = error_of(refusals.ORDER, 201, body)
    assert error is not None
    assert error.may_exist is True


def test_validation_issues_name_the_field() -> None:
    issues = [
        {
            "code": "custom",
            "message": "SSH port (22) must be forwarded",
            "path": ["data", "attributes", "ports", 0],
        },
        {"code": "invalid_enum_value", "message": "Invalid image", "path": []},
        None,
    ]
    error = error_of(refusals.ORDER, 400, issues)
    assert isinstance(error, Rejected)
    assert (error.field, error.may_exist) == ("ports", False)
    assert "SSH port (22) must be forwarded; Invalid image" in error.message


@pytest.mark.parametrize(
    ("operation", "status", "text", "kind"),
    [
        (refusals.START, 400, "Instance is already running", Conflict),
        (refusals.START, 400, "Instance must be stopped", Conflict),
        (refusals.START, 409, "", Conflict),
        (refusals.START, 400, "", NoCapacity),
        (refusals.START, 404, "Instance not found", Gone),
        (refusals.STOP, 400, "Machine is stopped, therefore it cannot be stopped", Conflict),
        (refusals.STOP, 400, "No", Rejected),
        (refusals.DELETE, 400, "Instance already terminated", Gone),
        (refusals.DELETE, 404, "Instance not found", Gone),
        (refusals.DELETE, 409, "Instance is deploying", Conflict),
        (refusals.DELETE, 500, "", Transient),
        ("list machines", 400, "need a token", Rejected),
    ],
)
def test_anything_else_refused(operation: str, status: int, text: str, kind: type[ProviderError]) -> None:
    for http_status in (status, 200):
        error = error_of(operation, http_status, {"status": status, "error": text})
        assert type(error) is kind
    assert error is not None
    if kind is not Transient:
        assert error.may_exist is False


@pytest.mark.parametrize(
    "data",
    [
        {"id": "i", "status": "running"},
        {"data": {"id": "i", "status": "running"}},
        {"data": []},
        {"data": {"type": "success", "message": "Secret deleted successfully"}},
        {"data": {"type": "success", "attributes": {"message": "Instance deleted successfully"}}},
        {"status": "running", "error": ""},
        {"status": 200, "error": None},
        [],
        "deleted",
        True,
    ],
)
def test_a_good_answer_is_none(data: Any) -> None:
    assert error_of(refusals.DELETE, 200, data) is None


def test_retry_after_is_read() -> None:
    error = error_of("list machines", 429, {"error": "x"})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 3


def test_too_little_money_names_the_minimum() -> None:
    error = error_of(refusals.ORDER, 200, {"status": 400, "error": "You need at least $1"})
    assert error is not None
    assert "$1.00" in (error.hint or "")
