"""The page of machines: whose each one is, and how it is ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gputui.model.errors import Unreachable
from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.types import JobKind, Machine
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import wishes as wish_store
from gputui.store.findings import Finding, FindingKind
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.deploy import DeployScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.screens.machines import MachinesScreen
from gputui.tui.widgets.row_list import RowList

HOUR_MS = 3_600_000
LOST, STRANGER = "vastai 77120934", "lambda 0920582c7ff041399e34823a0be62549"


def machines_for(stage: Any, kit: SimpleNamespace) -> None:
    """Put machines of every kind into the accounts: a job's, a lost one, a stranger, another profile's."""
    running = kit.fill_jobs(stage.desk)[-1]
    placement = job_store.load_placement(stage.desk.store, running.placement_id)
    now_ms = kit.NOW_MS
    stage.clouds["huddle"].machines = [
        Machine(placement.machine_id, "huddle", MachineState.RUNNING, "active", placement.label, "H100-SXM", 1, "FIN-01",
                2_290_000, "203.0.113.9", 22, "ubuntu", created_at_ms=now_ms - 72 * kit.MINUTE_MS),
    ]  # fmt: skip
    stage.clouds["vastai"].machines = [
        Machine("77120934", "vastai", MachineState.RUNNING, "running", "gputui-test-01jqx9v5n8m2k4c7w3t6r0b1za", "RTX-4090",
                2, "US, Texas", 710_000, created_at_ms=now_ms - 31 * HOUR_MS),
    ]  # fmt: skip
    stage.clouds["lambda"].machines = [
        Machine("0920582c7ff041399e34823a0be62549", "lambda", MachineState.RUNNING, "active", "jupyter-anna", "A10", 1,
                "us-west-1", 750_000),
    ]  # fmt: skip
    stage.clouds["runpod"].machines = [
        Machine("k3x0pd9a", "runpod", MachineState.STOPPED, "EXITED", "gputui-work-01jqx9v5n8m2k4c7w3t6r0b1zb", "L40S", 1,
                "US-KS-2", None),
    ]  # fmt: skip
    findings = [
        Finding(
            FindingKind.LOST, "vastai", "77120934", "gputui-test-01jqx", "running", 3, now_ms - HOUR_MS, now_ms, 710_000
        ),
        Finding(
            FindingKind.STRANGER, "lambda", STRANGER.split()[1], "jupyter-anna", "active", 3, now_ms, now_ms, 750_000
        ),
        Finding(FindingKind.OTHER_PROFILE, "runpod", "k3x0pd9a", "gputui-work-01", "EXITED", 3, now_ms, now_ms),
    ]
    with stage.desk.store.write() as tx:
        for found in findings:
            finding_store.keep_findings(tx, found.provider, {found.kind}, [found], now_ms=now_ms, gap_ms=30_000)
            finding_store.note_swept(tx, found.provider, now_ms=now_ms - 240_000, error=None)


@pytest.fixture
def stage(make_stage: Any, kit: SimpleNamespace) -> Any:
    made = make_stage()
    machines_for(made, kit)
    return made


async def test_what_needs_the_user_comes_first_and_says_so(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9")
        rows = app.screen.query_one("#list", RowList)
        assert rows.keys[0] == LOST
        assert rows.keys[-1] == STRANGER
        assert "▲ LOST" in play.line_of(pilot, LOST)
        assert "no job has it" in play.text_of(pilot, "#detail")
        assert "stranger" in play.line_of(pilot, STRANGER)
        assert "ft-run-0142" in play.line_of(pilot, "huddle machine-4")
        title = play.text_of(pilot, "#title")
        assert "▲ 1 lost" in title
        assert "$3.75/h in all and 1 of unknown price" in title
        assert "swept 4 min ago" in title
        assert "    " not in title


async def test_enter_shows_the_job_that_has_it(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "down", "enter")
        assert isinstance(app.screen, JobsScreen)
        assert app.screen.report is not None
        assert app.screen.report.job.name == "ft-run-0142"
        await play.press(pilot, "9", "up", "enter")
        assert isinstance(app.screen, MachinesScreen)
        assert play.toasts(pilot)[-1] == "No job of ours has this machine."


async def test_a_lost_one_is_wished_gone_after_a_question(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        assert app.focused is not None
        assert app.focused.id == "no"
        assert "$0.71/h now" in app.screen._question.lines[0]
        await play.press(pilot, "enter")
        assert wish_store.load_open_terminations(stage.desk.store) == []
        await play.press(pilot, "ctrl+d", "y")
        [wish] = wish_store.load_open_terminations(stage.desk.store)
        assert (wish.provider, wish.machine_id) == ("vastai", "77120934")
        assert "◌ ending" in play.line_of(pilot, LOST)
        await play.press(pilot, "ctrl+d")
        assert isinstance(app.screen, MachinesScreen)
        assert "It is being ended already" in play.toasts(pilot)[-1]
        with stage.desk.store.write() as tx:
            wish_store.note_termination(tx, wish.id, last_error=None, gone_at_ms=stage.desk.clock.now_ms())
        await play.until(pilot, lambda: LOST not in app.screen.query_one("#list", RowList).keys)


async def test_a_lost_one_is_adopted_after_a_question(stage: Any, kit: SimpleNamespace, play: SimpleNamespace) -> None:
    over = kit.add_job(stage.desk, 7, JobStatus.COMPLETED, name="eval-9", spec=kit.TRAINING, ended_ago_ms=kit.MINUTE_MS,
                       placement_state=PlacementState.GONE, found=kit.offer("vastai", "RTX-4090", 0.355, count=2))  # fmt: skip
    with stage.desk.store.write() as tx:
        job_store.update_placement(tx, over.placement_id, machine_id="77120934")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "a")
        assert isinstance(app.screen, ConfirmScreen)
        assert "goes on costing $0.71/h" in app.screen._question.lines[0]
        before = {report.job.id for report in stage.desk.jobs()}
        await play.press(pilot, "enter")
        assert {report.job.id for report in stage.desk.jobs()} == before
        await play.press(pilot, "a", "y")
        [job] = [report.job for report in stage.desk.jobs() if report.job.id not in before]
        assert (job.status, job.spec.kind) == (JobStatus.RUNNING, JobKind.MACHINE)
        assert f"Job {job.name} has it now" in play.toasts(pilot)[-1]
        assert "77120934" not in {found.id for found in stage.desk.findings()}


async def test_only_what_is_lost_offers_to_be_adopted(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "G", "a")
        assert isinstance(app.screen, MachinesScreen)
        assert app.screen.check_action("adopt", ()) is False


async def test_a_stranger_is_ended_only_after_its_id_was_typed(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "G", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        await play.press(pilot, *"yes", "enter", "y")
        assert isinstance(app.screen, ConfirmScreen)
        await play.press(pilot, "escape")
        assert isinstance(app.screen, MachinesScreen)
        await play.press(pilot, "ctrl+d", *STRANGER.split()[1])
        assert wish_store.load_open_terminations(stage.desk.store) == []
        await play.press(pilot, "enter")
        [wish] = wish_store.load_open_terminations(stage.desk.store)
        assert wish.machine_id == STRANGER.split()[1]


async def test_a_machine_of_a_job_is_ended_by_stopping_the_job(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "down", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        assert "Stop job ft-run-0142" in app.screen._question.title
        await play.press(pilot, "y")
        assert stage.desk.job("ft-run-0142").job.stop_requested_at_ms is not None
        assert wish_store.load_open_terminations(stage.desk.store) == []


async def test_who_does_not_answer_is_told_and_what_it_said_before_stays(
    stage: Any, play: SimpleNamespace, clock: Any
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "G")
        stage.clouds["lambda"].problem = Unreachable("lambda did not answer.", provider="lambda")
        clock.time_ms += 120_000
        await play.press(pilot, "r")
        assert "no answer from Lambda" in play.text_of(pilot, "#title")
        assert "shown as told 2 min ago" in play.text_of(pilot, "#problem-lines")
        rows = app.screen.query_one("#list", RowList)
        assert rows.key == STRANGER
        painted = rows._painter(STRANGER, 118, False)[0]
        assert "$faint" in {span.style for span in painted.spans}


async def test_a_provider_that_is_switched_off_is_asked_while_something_may_run_there(
    stage: Any, play: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable = [name for name in stage.desk.accounts.usable() if name != "huddle"]
    monkeypatch.setattr(stage.desk.accounts, "usable", lambda: usable)
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9")
        ours = [key for key in app.screen.query_one("#list", RowList).keys if key.startswith("huddle ")]
        assert len(ours) == 1
        stage.clouds["huddle"].machines = []
        await play.press(pilot, "r")
        assert ours[0] not in app.screen.query_one("#list", RowList).keys


async def test_a_machine_found_by_a_sweep_shows_while_its_provider_is_silent(stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["vastai"].problem = Unreachable("vastai did not answer.", provider="vastai")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9")
        assert app.screen.query_one("#list", RowList).keys[0] == LOST
        assert "nothing is known of it" in play.text_of(pilot, "#problem-lines")


async def test_the_cursor_stays_on_its_machine_through_a_refresh(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "down")
        rows = app.screen.query_one("#list", RowList)
        assert rows.key == "huddle machine-4"
        new = replace(stage.clouds["huddle"].machines[0], id="another", label="gputui-test-01jqx9v5n8m2k4c7w3t6r0b1zz")
        stage.clouds["huddle"].machines.insert(0, new)
        await play.press(pilot, "r")
        assert rows.keys.index("huddle another") < rows.keys.index("huddle machine-4")
        assert rows.key == "huddle machine-4"


async def test_an_account_with_nothing_says_what_to_do(make_stage: Any, play: SimpleNamespace) -> None:
    app = make_stage().app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9")
        assert "Nothing is alive in any account." in str(app.screen.query_one("#empty").render())
        await play.press(pilot, "ctrl+d", "n")
        assert isinstance(app.screen, DeployScreen)


async def test_a_sweep_tells_what_it_found(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "w")
        assert "3 things found" in play.toasts(pilot)[-1]
        assert "swept now" in play.text_of(pilot, "#title") or "swept 0 s ago" in play.text_of(pilot, "#title")


async def test_the_tabs_go_round(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "4", "right_square_bracket")
        assert isinstance(app.screen, MachinesScreen)
        await play.press(pilot, "left_square_bracket")
        assert isinstance(app.screen, JobsScreen)


async def test_hostile_words_of_a_provider_end_nothing(make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()
    evil = play.EVIL * 400
    stage.clouds["huddle"].machines = [
        Machine(evil, "huddle", MachineState.UNKNOWN, evil, evil, evil, 1, evil, 1, evil, 22, evil)
    ]
    stage.clouds["lambda"].problem = Unreachable(evil, provider="lambda")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "9", "enter", "ctrl+d", "escape", "w", "r")
        assert app.is_running
        assert isinstance(app.screen, MachinesScreen)
        assert "\u202e" not in play.line_of(pilot, f"huddle {evil}")


# Pictures


@pytest.mark.parametrize(("size", "theme"), [((120, 36), "gputui-dark"), ((80, 24), "gputui-dark"),
                                             ((120, 36), "gputui-light")], ids=["wide", "small", "light"])  # fmt: skip
def test_picture_full(
    snap_compare: Any, make_stage: Any, kit: SimpleNamespace, play: SimpleNamespace, size: Any, theme: str
) -> None:
    stage = make_stage(theme=theme)
    machines_for(stage, kit)
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("9"))


def test_picture_empty(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(make_stage().app(), terminal_size=play.SIZE, run_before=play.pressing("9"))


def test_picture_loading(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()

    async def run(pilot: Any) -> None:
        await play.settle(pilot)
        for cloud in stage.clouds.values():
            cloud.gate = asyncio.Event()
        await pilot.press("9")
        await play.until(pilot, lambda: stage.clouds["huddle"].calls[-1] == "list_machines")
        await pilot.pause()

    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=run)


def test_picture_error(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["lambda"].problem = Unreachable("lambda did not answer within 20 s.", provider="lambda")
    stage.clouds["vastai"].problem = Unreachable("vastai could not be reached.", provider="vastai")
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("9"))


def test_picture_of_the_question(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("9", "G", "ctrl+d"))


def test_picture_ascii(snap_compare: Any, make_stage: Any, kit: SimpleNamespace, play: SimpleNamespace) -> None:
    stage = make_stage(ascii=True)
    machines_for(stage, kit)
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("9"))
