"""JSON shapes: money as exact strings, unknown as null, keys that never move."""

from __future__ import annotations

import json

import pytest

from gputui.core.reports import JobReport
from gputui.core.shapes import error_envelope, job_shape, offer_shape, ok_envelope, ssh_command, usd
from gputui.model.errors import NoMatch
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobSpec, Offer, Placement, Stock

OFFER = Offer("mock:1", "mock", "H100-SXM", 8, 18_320_000, 1_700_000_000_123, stock=Stock.LOW)
JOB = Job("j", JobSpec(gpu="H100", command="true"), JobStatus.QUEUED, "waiting", 1_700_000_000_000, "n")


def placement(state: PlacementState) -> Placement:
    return Placement(
        id="p",
        job_id="j",
        attempt=1,
        provider="mock",
        offer=OFFER,
        label="l",
        idempotency_key="k",
        nonce="n",
        state=state,
        created_at_ms=0,
        machine_id="m",
        ssh_host="192.0.2.1",
        ssh_port=22,
        ssh_user="root",
    )


def test_envelopes() -> None:
    assert ok_envelope([1]) == {"status": "ok", "data": [1]}
    error = NoMatch("No offer.", hint="Raise the cap.")
    assert error_envelope(error) == {"status": "error", "error": "No offer. Raise the cap.", "code": "no_match"}


@pytest.mark.parametrize(("micro", "text"), [(None, None), (0, "0.00"), (1, "0.000001"), (2_290_000, "2.29")])
def test_money(micro: int | None, text: str | None) -> None:
    assert usd(micro) == text


def test_a_job_that_has_nothing_yet_says_null() -> None:
    shape = job_shape(JobReport(JOB, None, ()))
    assert json.loads(json.dumps(shape)) == shape
    assert (shape["provider"], shape["gpu"], shape["machine"]) == (None, "H100", None)
    assert (shape["cost_per_hour_usd"], shape["cost_usd"], shape["started_at"]) == (None, "0.00", None)


def test_a_machine_has_an_address_until_it_is_gone() -> None:
    alive = job_shape(JobReport(JOB, placement(PlacementState.RUNNING), ()))
    assert alive["machine"] == {"id": "m", "ip": "192.0.2.1", "ssh": "ssh root@192.0.2.1"}
    assert (alive["provider"], alive["gpu"], alive["cost_per_hour_usd"]) == ("mock", "H100-SXM", "18.32")
    gone = job_shape(JobReport(JOB, placement(PlacementState.GONE), ()))
    assert gone["machine"] == {"id": "m", "ip": None, "ssh": None}


def test_an_offer() -> None:
    shape = offer_shape(OFFER, effective_micro_usd_per_hour=None)
    assert shape["price_per_hour_usd"] == "18.32"
    assert shape["effective_per_hour_usd"] is None
    assert shape["stock"] == "low"
    assert shape["vram_gib"] is None
    assert shape["fetched_at"] == "2023-11-14T22:13:20.123Z"


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ((None, 22, "root"), None),
        (("h", None, None), "ssh h"),
        (("h", 22, "u"), "ssh u@h"),
        (("h", 2222, "u"), "ssh -p 2222 u@h"),
    ],
)
def test_ssh_command(address: tuple[str | None, int | None, str | None], command: str | None) -> None:
    assert ssh_command(*address) == command
