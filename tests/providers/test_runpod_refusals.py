"""What RunPod's refusals mean, and what it tells of its request limits."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from runpod_answers import NONE_LEFT, POD

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.providers.replies import Reply
from gputui.providers.runpod import limits, refusals

NOW_MS = 1_767_603_600_000


def reply(status: int, data: Any, operation: str = limits.ORDER, **headers: str) -> Reply:
    return Reply(operation, status, data, False, "req-1", httpx.Headers(headers))


def problem(status: int, detail: str = "", **more: Any) -> Reply:
    return reply(status, {"title": "Some Title", "status": status, "detail": detail, **more})


class TestRefusals:
    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (problem(400, NONE_LEFT), NoCapacity, False),
            (problem(400, "This machine does not have the resources to deploy your pod."), NoCapacity, False),
            (problem(400, "could not find any pods with required specifications"), NoCapacity, False),
            (problem(400, "There are not enough free GPUs on the host machine to start this pod."), NoCapacity, False),
            (problem(400, "Insufficient resources on this balance of hosts"), NoCapacity, False),
            (problem(400, "request could not be processed"), Rejected, False),
            (problem(400, "Insufficient permissions to mount"), Rejected, False),
            (
                problem(400, "Renting this pod would put you over your current spending limit ($80.00/hr)."),
                NotFunded,
                False,
            ),
            (problem(402, "x"), NotFunded, False),
            (problem(401, "missing bearer token"), AuthError, False),
            (problem(403, "access denied"), AuthError, False),
            (problem(404, "resource not found"), Gone, False),
            (problem(404, "The requested path was not found."), Malformed, True),
            (problem(409, "x"), Conflict, True),
            (problem(413, "x"), Rejected, False),
            (problem(422, "Request validation failed."), Rejected, False),
            (problem(429, "rate limit exceeded for the minute window"), RateLimited, False),
            (problem(500, NONE_LEFT), Transient, True),
            (problem(503, "x"), Transient, True),
        ],
    )
    def test_classes(self, answer: Reply, kind: type[ProviderError], may_exist: bool) -> None:
        error = refusals.error_in(answer, NOW_MS)
        assert type(error) is kind
        assert error is not None
        assert error.may_exist is may_exist

    def test_a_good_answer_is_none(self) -> None:
        assert refusals.error_in(reply(201, POD), NOW_MS) is None

    def test_what_was_wrong_is_told(self) -> None:
        failures = ["$: missing property 'dataCenter'", "$: additional properties 'x' not allowed"]
        error = refusals.error_in(problem(422, "Request validation failed.", errors=failures), NOW_MS)
        assert "Request validation failed.; $: missing property 'dataCenter'; $: additional" in str(error)

    def test_only_an_order_in_conflict_may_have_made_something(self) -> None:
        error = refusals.error_in(reply(409, {"detail": "x"}, limits.STOP), NOW_MS)
        assert error is not None
        assert error.may_exist is False

    def test_how_long_to_wait(self) -> None:
        limit = '"minute";r=0;t=12, "hour";r=2800;t=1812'
        for headers, expected_s in (
            ({"retry-after": "7", "ratelimit": limit}, 7.0),
            ({"ratelimit": limit}, 12.0),
            ({}, None),
        ):
            error = refusals.error_in(reply(429, {"detail": "x"}, **headers), NOW_MS)
            assert isinstance(error, RateLimited)
            assert error.retry_after_s == expected_s

    @pytest.mark.parametrize(
        ("data", "is_fault"),
        [
            ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], "data": None}, True),
            ({"errors": [{"message": "x", "extensions": {"code": "FORBIDDEN"}}], "data": None}, False),
            ({"errors": ["x", None], "data": None}, False),
            ({"data": {"myself": None}}, False),
            ([], False),
        ],
    )
    def test_graphql(self, data: Any, is_fault: bool) -> None:
        assert isinstance(refusals.graphql_error_in(reply(200, data)), Transient) is is_fault


class TestLimits:
    @pytest.mark.parametrize(
        ("header", "pause_s"),
        [
            ('"minute";r=0;t=12, "hour";r=2800;t=1812, "day";r=49500;t=45012', 12.0),
            ('"minute";r=0;t=12, "hour";t=1812;r=0', 1812.0),
            ('"minute";r=1;t=12', None),
            ('"minute";r=0;t=0', None),
            ('"minute";r=0', None),
            ("nonsense; r=0x", None),
            ("", None),
        ],
    )
    def test_a_window_that_is_used_up(self, header: str, pause_s: float | None) -> None:
        assert limits.pause_in(httpx.Headers({"RateLimit": header})) == pause_s
        assert limits.pause_in({}) is None

    def test_the_paces_stay_within_the_documented_quota(self) -> None:
        paces = {pace.name: pace for pace in limits.PACES}
        for pace, quota, window_s in ((paces["requests"], 60, 60), (paces["requests"], 3000, 3600)):
            assert pace.burst + window_s / pace.every_s <= quota
        assert paces["day"].burst + 86_400 / paces["day"].every_s <= 50_000
