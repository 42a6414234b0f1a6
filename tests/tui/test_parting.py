"""What is said once the interface is closed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gputui.core.desk import Desk
from gputui.model.states import JobStatus
from gputui.store import alarms as alarm_store
from gputui.store import findings as finding_store
from gputui.store.alarms import Alarm, AlarmKind
from gputui.store.findings import Finding, FindingKind
from gputui.tui import app as tui_app
from gputui.tui.parting import parting_words


def forget_volume(desk: Desk, now_ms: int, price: int | None) -> None:
    volume = Finding(
        FindingKind.VOLUME, "huddle", "v-1", "data", "detached", 1, now_ms, now_ms, price_micro_usd_per_month=price
    )
    with desk.store.write() as tx:
        finding_store.keep_findings(tx, "huddle", {FindingKind.VOLUME}, [volume], now_ms=now_ms, gap_ms=1)


def test_nothing_is_running(make_desk: Any) -> None:
    assert parting_words(make_desk()) == "Nothing that gputui started is running."


def test_jobs_that_go_on_are_told_with_their_price(desk: Desk) -> None:
    assert parting_words(desk) == "2 jobs go on at $2.29/h. To look: gputui jobs list"


def test_a_job_without_a_machine_has_no_price(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    kit.add_job(desk, 1, JobStatus.QUEUED, name="waits", spec=kit.TRAINING)
    assert parting_words(desk) == "1 job goes on; no machine yet. To look: gputui jobs list"


@pytest.mark.parametrize(("price", "cost"), [(20_000_000, "costs $20.00 a month"), (None, "costs money")])
def test_a_forgotten_volume_is_told(make_desk: Any, kit: SimpleNamespace, price: int | None, cost: str) -> None:
    desk = make_desk()
    forget_volume(desk, kit.NOW_MS, price)
    assert parting_words(desk) == f"1 unused volume {cost}. To look: gputui volumes list"


def test_what_needs_the_user_comes_first(desk: Desk, kit: SimpleNamespace) -> None:
    forget_volume(desk, kit.NOW_MS, 20_000_000)
    lost = Alarm(AlarmKind.LOST, "m-1", "A machine is lost.", "End it: gputui machines sweep", kit.NOW_MS, "vastai")
    with desk.store.write() as tx:
        alarm_store.keep_alarm(tx, lost)
    first, *others = parting_words(desk).split("\n")
    assert first == "A machine is lost. End it: gputui machines sweep"
    assert len(others) == 2


@pytest.mark.parametrize(("code", "said"), [(0, "2 jobs go on"), (129, "")])
def test_it_is_said_where_somebody_may_read_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, said: str
) -> None:
    """Whose terminal was closed is told nothing."""

    async def closed_at_once(app: tui_app.GputuiApp, *, mouse: bool) -> None:
        app.exit(return_code=code)

    monkeypatch.setattr(tui_app, "run_in_terminal", closed_at_once)
    monkeypatch.setattr(tui_app.Desk, "open", lambda profile: desk)
    assert tui_app.run_app(None) == code
    told = capsys.readouterr().out
    assert told.startswith(said)
    assert bool(told) == bool(said)
