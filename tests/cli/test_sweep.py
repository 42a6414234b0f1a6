"""machines sweep, alarms where people look, and vouching for a key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from arrange import keep_job

from gputui.core import sweep as sweeps
from gputui.core.desk import Desk
from gputui.model.errors import Unreachable
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import CreateRequest, Machine, Stock
from gputui.providers.mock.client import MockClient
from gputui.store import alarms as alarm_store
from gputui.store import jobs as job_store
from gputui.store.alarms import Alarm, AlarmKind


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)
    monkeypatch.setattr(Desk, "guard", lambda self: None)


def rent(desk: Desk, label: str) -> Machine:
    async def create() -> Machine:
        client = desk.client("mock")
        offer = next(offer for offer in await client.fetch_offers() if offer.stock is Stock.HIGH)
        return await client.create(CreateRequest(offer, label, idempotency_key=label, ssh_public_key=""))

    return asyncio.run(create())


@pytest.fixture
def lost(desk: Desk) -> Machine:
    """A machine of a job that is over."""
    job = keep_job(desk)
    placement = desk.job(job.id).placement
    assert placement is not None
    return rent(desk, placement.label)


def wait_out_the_gap(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.execute("UPDATE findings SET last_seen_ms = last_seen_ms - 60000, first_seen_ms = first_seen_ms - 60000")


def test_nothing_to_tell(cli: Any) -> None:
    said = cli("machines", "sweep")
    assert "Everything that exists is accounted for." in said.out
    assert cli("machines", "sweep", "--json").data == {"findings": [], "problems": {}, "terminated": []}


def test_what_exists_is_told_by_what_it_is(cli: Any, desk: Desk, lost: Machine) -> None:
    stranger = rent(desk, "somebody-elses")
    found = {row["id"]: row for row in cli("machines", "sweep", "--json").data["findings"]}
    assert {machine_id: row["kind"] for machine_id, row in found.items()} == {lost.id: "lost", stranger.id: "stranger"}
    assert float(found[lost.id]["price_per_hour_usd"]) > 0
    shown = cli("machines", "sweep").out
    assert "LOST" in shown
    assert "not ours" in shown


def test_a_provider_that_does_not_answer_is_told(cli: Any, lost: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("machines", "sweep").code == 0

    async def fail(self: MockClient) -> None:
        raise Unreachable("mock cannot be reached.", provider="mock")

    monkeypatch.setattr(MockClient, "list_machines", fail)
    said = cli("machines", "sweep", "--json")
    assert said.code == 7
    assert [row["id"] for row in said.data["findings"]] == [lost.id]
    assert "mock" in said.data["problems"]
    assert "could not be asked" in said.err


def test_lost_machines_are_deleted_after_a_second_look_and_nothing_else(
    cli: Any, desk: Desk, lost: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = rent(desk, "somebody-elses")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        wait_out_the_gap(desk)

    monkeypatch.setattr("gputui.cli.sweep.time.sleep", sleep)
    refused = cli("machines", "sweep", "--terminate-lost", "--json")
    assert (refused.code, refused.error["code"]) == (2, "confirmation_needed")
    assert desk.termination(lost) is None
    said = cli("machines", "sweep", "--terminate-lost", "--yes", "--no-wait", "--json")
    assert said.data["terminated"] == [lost.id]
    assert slept[0] == sweeps.SIGHTING_GAP_S
    assert desk.termination(lost) is not None
    assert desk.termination(stranger) is None


def test_a_lost_machine_is_adopted_as_a_job_and_nothing_else_is(cli: Any, desk: Desk, lost: Machine) -> None:
    stranger = rent(desk, "somebody-elses")
    refused = cli("machines", "adopt", stranger.id, "--json")
    assert (refused.code, refused.error["code"]) == (6, "guard_refused")
    job = cli("machines", "adopt", lost.id, "--max-duration", "4h", "--json").data
    assert (job["status"], job["kind"], job["machine"]["id"]) == ("running", "machine", lost.id)
    assert desk.job(job["id"]).job.spec.max_duration_s == 4 * 3600
    assert {row["id"] for row in cli("machines", "sweep", "--json").data["findings"]} == {stranger.id}
    again = cli("machines", "adopt", lost.id)
    assert again.code == 6
    assert "has a job" in again.err


def test_nothing_lost_needs_no_yes(cli: Any, desk: Desk) -> None:
    rent(desk, "somebody-elses")
    said = cli("machines", "sweep", "--terminate-lost")
    assert said.code == 0
    assert "No machine is lost." in said.err


def test_alarms_are_told_with_jobs_and_by_doctor(cli: Any, desk: Desk) -> None:
    job = keep_job(desk, status=JobStatus.RUNNING)
    placement = desk.job(job.id).placement
    assert placement is not None
    alarm = Alarm(
        AlarmKind.UNDYING, "m1", "It will not end.", "Delete it yourself.", 1, rate_micro_usd_per_hour=2_490_000
    )
    with desk.store.write() as tx:
        job_store.update_placement(tx, placement.id, state=PlacementState.TERMINATING.value)
        alarm_store.keep_alarm(tx, alarm)
        alarm_store.keep_alarm(tx, replace(alarm, message="It still will not end."))
    told = cli("jobs", "list").err
    assert "It still will not end. It costs 2.49 $/h meanwhile. Delete it yourself." in told
    assert told.count("Delete it yourself.") == 1
    assert "unguarded" in told
    doctor = cli("doctor", "--json")
    assert doctor.code == 1
    assert {row["name"] for row in doctor.data if row["ok"] is False} == {"agent", "alarm undying"}


def test_a_key_is_vouched_for_by_a_person(cli: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = keep_job(desk, status=JobStatus.RUNNING)
    placement = desk.job(job.id).placement
    assert placement is not None
    with desk.store.write() as tx:
        job_store.update_placement(
            tx, placement.id, state=PlacementState.RUNNING.value, key_print="0123", gone_at_ms=None
        )
    refused = cli("auth", "same-account", "mock", "--json")
    assert (refused.code, refused.error["code"]) == (2, "confirmation_needed")
    assert cli("auth", "same-account", "mock", "--yes", "--json").data == {"provider": "mock", "machines": 1}
    found = job_store.load_placement(desk.store, placement.id)
    assert found is not None
    assert found.key_print is None
    assert cli("auth", "same-account", "nobody", "--yes", "--json").code == 3
