"""What is no answer of Lambda's at all, and what its refusals mean."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.providers.lambda_ import refusals, wire
from gputui.providers.replies import Reply

NOW_MS = 1_767_603_600_000


def reply(status: int, data: Any, *, is_page: bool = False) -> Reply:
    return Reply("do something", status, data, is_page, "req-1", {})


def failed(code: str, message: str = "Something.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "suggestion": "Try.", "request_id": "r"}}


class TestEnvelope:
    @pytest.mark.parametrize("body", [None, [], "x", {}, {"error": {}}, {"data": None}, {"data": {}}, {"data": "x"}])
    def test_what_is_no_list_is_never_an_empty_one(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.rows_of(body)

    @pytest.mark.parametrize("body", [None, {}, {"data": None}, {"data": []}, {"data": "x"}])
    def test_what_is_no_map_is_never_an_empty_market(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.types_of(body)

    def test_empty_is_a_real_answer(self) -> None:
        assert wire.rows_of({"data": [], "more": 1}) == []
        assert wire.types_of({"data": {}}) == {}

    def test_a_launch(self) -> None:
        assert wire.launched_id({"data": {"instance_ids": ["i-1"]}}) == "i-1"

    @pytest.mark.parametrize(
        "data",
        [None, [], {}, {"instance_ids": None}, {"instance_ids": []}, {"instance_ids": [""]}, {"instance_ids": [7]}],
    )
    def test_a_launch_without_an_id(self, data: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.launched_id({"data": data})


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "kind", "may_exist"),
        [
            (400, "instance-operations/launch/insufficient-capacity", NoCapacity, False),
            (400, "instance-operations/launch/file-system-in-wrong-region", Rejected, False),
            (400, "global/invalid-parameters", Rejected, False),
            (400, "global/duplicate", Rejected, False),
            (400, "global/quota-exceeded", Rejected, False),
            (403, "global/invalid-address", Rejected, False),
            (403, "global/account-inactive", AuthError, False),
            (403, "global/forbidden", AuthError, False),
            (401, "global/invalid-api-key", AuthError, False),
            (400, "global/object-does-not-exist", Gone, False),
            (404, "global/object-does-not-exist", Gone, False),
            (404, "global/not-found", Gone, False),
            (400, "filesystems/filesystem-in-use", Conflict, False),
            (409, "global/conflict", Conflict, True),
            (409, "strange/word", Conflict, True),
            (409, "global/internal-error", Transient, True),
            (400, "global/unknown", Transient, True),
            (400, "provider/internal-unavailable", Transient, True),
            (503, "provider/internal-unavailable", Transient, True),
            (500, "global/internal-error", Transient, True),
            (500, "global/object-does-not-exist", Transient, True),
            (502, "instance-operations/launch/insufficient-capacity", Transient, True),
            (429, "global/object-does-not-exist", RateLimited, False),
            (418, "strange/word", Rejected, False),
            (200, "global/object-does-not-exist", Gone, False),
            (200, "strange/word", Malformed, True),
        ],
    )
    def test_codes(self, status: int, code: str, kind: type[ProviderError], may_exist: bool) -> None:
        error = refusals.error_in(reply(status, failed(code, "It is so.")), NOW_MS)
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert status in (200, 429) or "It is so." in str(error)

    @pytest.mark.parametrize("data", [{"data": []}, {"data": {}}, {}, []])
    def test_a_good_answer_is_no_error(self, data: Any) -> None:
        assert refusals.error_in(reply(200, data), NOW_MS) is None

    @pytest.mark.parametrize("error", ["text", None, {}, {"code": 7}, ["x"]])
    def test_errors_of_another_shape_count_as_their_status(self, error: Any) -> None:
        assert isinstance(refusals.error_in(reply(401, {"error": error}), NOW_MS), AuthError)
        assert isinstance(refusals.error_in(reply(200, {"error": error}), NOW_MS), Malformed)

    def test_a_quota_is_explained(self) -> None:
        error = refusals.error_in(reply(400, failed("global/quota-exceeded", "Quota exceeded.")), NOW_MS)
        assert isinstance(error, Rejected)
        assert error.field == "quota"
        assert "limit" in str(error)

    def test_an_inactive_account_does_not_blame_the_key(self) -> None:
        error = refusals.error_in(reply(403, failed("global/account-inactive", "Your account is inactive.")), NOW_MS)
        assert "The key may be fine" in str(error)
