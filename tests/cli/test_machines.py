"""machines: what exists at the providers, ours or not."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

import pytest
from arrange import keep_job

from gputui.core.desk import Desk
from gputui.model.errors import Unreachable
from gputui.model.states import PlacementState
from gputui.model.types import CreateRequest, Machine, Stock
from gputui.providers.mock.client import MockClient
from gputui.store import jobs as job_store

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def lost(desk: Desk) -> Machine:
    """A machine with our label that no job belongs to."""
    return rent(desk, f"gputui-default-{desk.ids.ulid()}")


def rent(desk: Desk, label: str) -> Machine:
    async def create() -> Machine:
        client = desk.client("mock")
        offer = next(offer for offer in await client.fetch_offers() if offer.stock is Stock.HIGH)
        return await client.create(CreateRequest(offer, label, idempotency_key=label, ssh_public_key=HOST_KEY))

    return asyncio.run(create())


def test_nothing_alive_is_an_empty_list(cli: Any) -> None:
    assert cli("machines", "list", "--json").data == []
    assert "Nothing is alive" in cli("machines", "list").out


def test_ours_and_others_are_told_apart(cli: Any, desk: Desk, lost: Machine) -> None:
    stranger = rent(desk, "somebody-elses")
    rows = {row["id"]: row for row in cli("machines", "list", "--json").data}
    assert rows[lost.id]["is_ours"]
    assert rows[lost.id]["job_id"] is None
    assert not rows[stranger.id]["is_ours"]
    shown = cli("machines", "list").out
    assert "unknown" in shown  # it bears our label, but may be another computer's
    assert "not ours" in shown


def test_a_provider_that_does_not_answer_makes_the_list_incomplete(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MockClient) -> None:
        raise Unreachable("mock cannot be reached.", provider="mock")

    monkeypatch.setattr(MockClient, "list_machines", fail)
    said = cli("machines", "list", "--json")
    assert said.code == 7
    assert "could not be asked" in said.err
    gone = cli("machines", "terminate", "any", "--yes", "--json")
    assert gone.code == 3
    assert "not: mock" in gone.error["error"]


def test_terminating_an_unknown_machine_is_not_found(cli: Any) -> None:
    said = cli("machines", "terminate", "nope", "--yes", "--json")
    assert (said.code, said.error["code"]) == (3, "not_found")


def test_terminating_needs_a_yes(cli: Any, lost: Machine) -> None:
    said = cli("machines", "terminate", lost.id, "--json")
    assert (said.code, said.error["code"]) == (2, "confirmation_needed")


def test_a_machine_of_somebody_else_is_guarded(cli: Any, desk: Desk) -> None:
    stranger = rent(desk, "somebody-elses")
    said = cli("machines", "terminate", stranger.id, "--yes", "--json")
    assert (said.code, said.error["code"]) == (6, "guard_refused")
    assert desk.termination(stranger) is None


def test_waiting_for_an_end_that_does_not_come_has_a_deadline(
    cli: Any, desk: Desk, lost: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)
    said = cli("machines", "terminate", lost.id, "--deadline", "1s", "--yes", "--json")
    assert said.code == 1
    assert "still lists" in said.error["error"]
    assert desk.termination(lost) is not None


def test_not_waiting_only_writes_the_wish(cli: Any, desk: Desk, lost: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)
    said = cli("machines", "terminate", lost.id[:-2], "--no-wait", "--yes", "--json")
    assert said.data["is_gone"] is False
    assert desk.termination(lost) is not None


def test_ssh_trusts_only_the_pinned_key_and_offers_only_ours(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    alive(desk, job.placement_id, host_key=HOST_KEY)
    argv = shlex.split(cli("machines", "ssh", job.name, "--print").out)
    assert argv[0] == "ssh"
    assert argv[-1] == "192.0.2.7"
    assert argv[argv.index("-p") + 1] == "2222"
    assert "StrictHostKeyChecking=yes" in argv
    known_hosts = next(word for word in argv if word.startswith("UserKnownHostsFile=")).partition("=")[2].strip('"')
    assert Path(known_hosts).read_text() == f"[192.0.2.7]:2222 {HOST_KEY}\n"
    by_machine = cli("machines", "ssh", f"machine-{(job.placement_id or '')[-6:]}", "--print")
    assert shlex.split(by_machine.out) == argv


def test_ssh_to_what_was_never_reached_or_is_gone_is_refused(cli: Any, desk: Desk) -> None:
    job = keep_job(desk)
    gone = cli("machines", "ssh", job.id, "--print")
    assert gone.code == 3
    assert "is gone" in gone.err
    alive(desk, job.placement_id, host_key=None)
    early = cli("machines", "ssh", job.id, "--print")
    assert early.code == 3
    assert "not reached this machine yet" in early.err


def alive(desk: Desk, placement_id: str | None, *, host_key: str | None) -> None:
    with desk.store.write() as tx:
        job_store.update_placement(tx, placement_id or "", state=PlacementState.RUNNING.value, host_key=host_key)
