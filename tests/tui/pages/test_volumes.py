"""The page of volumes: what each costs, making one with its price shown, deleting one by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual.widgets import Input, Static
from textual.widgets._toast import ToastRack

from gputui.model.errors import Rejected, Unreachable
from gputui.model.types import Region, Volume
from gputui.model.volumes import VolumeOrder, VolumeOrderState, VolumeWish
from gputui.store import volumes as volume_store
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.new_volume import NewVolumeScreen, read
from gputui.tui.screens.volumes import VolumesScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.row_list import RowList

DAY_MS = 86_400_000
UNUSED, USED = "runpod vol-9k2", "huddle 41c8"


def volumes_for(stage: Any, kit: SimpleNamespace) -> None:
    """Put volumes into two accounts: one that a job has, an unused one, one that costs nothing."""
    kit.fill_jobs(stage.desk)
    stage.clouds["huddle"].volumes = [
        Volume("41c8", "huddle", "datasets", "in-use", 500, None, "FIN-01", "Cloud_SSD", 50_000_000, ("machine-4",),
               kit.NOW_MS - 40 * DAY_MS, "/mnt/datasets"),
        Volume("77aa", "huddle", "os-disk", "available", 50, None, "FIN-01", "Cloud_SSD", 0),
    ]  # fmt: skip
    stage.clouds["runpod"].volumes = [
        Volume("vol-9k2", "runpod", "checkpoints", "", 200, None, "US-KS-2", "standard", 14_000_000),
    ]
    stage.clouds["vastai"].volumes = [Volume("8812", "vastai", "scratch", "ready", 64, None, "CA", None, None)]
    stage.clouds["huddle"].regions = [Region("huddle", "FIN-01", "Finland 1"), Region("huddle", "FIN-03", "Finland 3")]


@pytest.fixture
def stage(make_stage: Any, kit: SimpleNamespace) -> Any:
    made = make_stage()
    volumes_for(made, kit)
    return made


@pytest.fixture(autouse=True)
def typing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that says for how many seconds nobody may type before a price is asked for; none at first."""

    def lasts(seconds: float) -> None:
        monkeypatch.setattr("gputui.tui.screens.new_volume._TYPING_S", seconds)

    lasts(0.001)
    return lasts


def order_of(stage: Any) -> Any:
    [order] = volume_store.load_open_orders(stage.desk.store)
    return order


async def describe(pilot: Any, play: SimpleNamespace, **values: str) -> None:
    pilot.app.screen.query_one(DeployForm).fill(values)
    await play.settle(pilot)


async def test_unused_ones_come_first_with_what_they_cost(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5")
        keys = app.screen.query_one("#list", RowList).keys
        assert keys == [UNUSED, "vastai 8812", USED, "huddle 77aa"]
        assert "▲ unused" in play.line_of(pilot, UNUSED)
        assert "● ft-run-0142" in play.line_of(pilot, USED)
        assert "○ nothing" in play.line_of(pilot, "huddle 77aa")
        title = play.text_of(pilot, "#title")
        assert "▲ 2 unused: $14.00 a month" in title
        assert "$64.00 a month and 1 of unknown price" in title
        assert "costs $14.00 a month until it is deleted" in play.text_of(pilot, "#detail")


async def test_one_is_made_after_its_price_was_shown_and_confirmed(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        assert isinstance(app.screen, NewVolumeScreen)
        await describe(pilot, play, name="data", size="100", region="FIN-01")
        assert "$10.00 a month, from now until it is deleted" in play.text_of(pilot, "#price")
        await play.press(pilot, "pagedown")
        assert isinstance(app.screen, ConfirmScreen)
        assert app.focused is not None
        assert app.focused.id == "no"
        assert "$10.00 a month" in app.screen._question.lines[1]
        assert volume_store.load_open_orders(stage.desk.store) == []
        await play.press(pilot, "y")
        assert isinstance(app.screen, VolumesScreen)
        order = order_of(stage)
        assert (order.provider, order.name, order.size_gib, order.region) == ("huddle", "data", 100, "FIN-01")
        assert order.price_micro_usd_per_month == 10_000_000  # what was shown, to tell when it turns out dearer
        assert "◌ being made" in play.line_of(pilot, f"order {order.id}")


async def test_one_that_is_dearer_than_was_shown_says_so(
    stage: Any, play: SimpleNamespace, kit: SimpleNamespace
) -> None:
    words = "It costs 14.00 $ a month; 7.00 $ were shown."
    with stage.desk.store.write() as tx:
        wish = VolumeOrder(
            id="wish", wish=VolumeWish.CREATE, provider="runpod", name="checkpoints", label="checkpoints",
            state=VolumeOrderState.MADE, created_at_ms=kit.NOW_MS - DAY_MS, ended_at_ms=kit.NOW_MS - DAY_MS,
            volume_id="vol-9k2", error=words, error_code="too_dear",
        )  # fmt: skip
        volume_store.insert_order(tx, wish)
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5")
        assert app.screen.query_one("#list", RowList).key == UNUSED
        assert words in play.text_of(pilot, "#detail")


async def test_what_is_changed_after_its_price_was_told_is_not_made_at_that_price(
    stage: Any, play: SimpleNamespace, typing: Callable[[float], None]
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        await describe(pilot, play, name="data", size="100", region="FIN-01")
        typing(60)
        await describe(pilot, play, size="910")
        await play.press(pilot, "pagedown")
        assert "$91.00 a month" in app.screen._question.lines[1]  # type: ignore[attr-defined]


async def test_the_question_comes_by_itself_once_the_price_is_told(
    stage: Any, play: SimpleNamespace, typing: Callable[[float], None]
) -> None:
    app, huddle = stage.app(), stage.clouds["huddle"]
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        typing(60)
        huddle.gate = asyncio.Event()
        app.screen.query_one(DeployForm).fill({"name": "data", "size": "100", "region": "FIN-01"})
        await pilot.press("pagedown", "pagedown")
        await play.until(pilot, lambda: "quote 100 FIN-01" in huddle.calls)
        assert isinstance(app.screen, NewVolumeScreen)
        huddle.gate.set()
        await play.settle(pilot)
        assert isinstance(app.screen, ConfirmScreen)
        assert "$10.00 a month" in app.screen._question.lines[1]
        assert huddle.calls.count("quote 100 FIN-01") == 1


@pytest.mark.parametrize("then", ["edited", "left", "failed"])
async def test_no_question_comes_by_itself_after_it_was_edited_or_left_or_has_no_price(
    stage: Any, play: SimpleNamespace, typing: Callable[[float], None], then: str
) -> None:
    app, huddle = stage.app(), stage.clouds["huddle"]
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        typing(60)
        huddle.gate = asyncio.Event()
        app.screen.query_one(DeployForm).fill({"name": "data", "size": "100", "region": "FIN-01"})
        await pilot.press("pagedown")
        await play.until(pilot, lambda: "quote 100 FIN-01" in huddle.calls)
        if then == "edited":
            app.screen.query_one(DeployForm).fill({"size": "101"})
            await pilot.pause()
            app.screen.query_one(DeployForm).fill({"size": "100"})
            await pilot.pause()
        elif then == "left":
            await pilot.press("escape")
        else:
            huddle.problem = Unreachable("No way there.", provider="huddle")
        huddle.gate.set()
        await play.settle(pilot)
        assert isinstance(app.screen, VolumesScreen if then == "left" else NewVolumeScreen)
        if then == "failed":
            huddle.problem = None
            await play.press(pilot, "pagedown")
            assert isinstance(app.screen, ConfirmScreen)


async def test_a_region_is_completed_while_it_is_typed(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n", *"data", "enter", *"5", "enter", *"fin-03")
        await play.press(pilot, "right", "tab")
        assert app.screen.query_one("#field-region", Input).value in ("FIN-03", "fin-03")
        assert "list_regions" in stage.clouds["huddle"].calls


async def test_the_regions_are_named_while_none_is_chosen(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        assert "FIN-01, FIN-03" in play.text_of(pilot, "#price")
        await play.press(pilot, "shift+tab", "right", "tab")
        assert "FIN-01" not in play.text_of(pilot, "#price")  # those of another provider
        await play.press(pilot, "shift+tab", "left", "tab", "down", "down", "F")
        assert "FIN-01" not in play.text_of(pilot, "#price")


async def test_the_form_is_out_of_sight_while_it_asks(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n")
        form = app.screen
        await describe(pilot, play, name="data", size="100", region="FIN-01")
        await play.press(pilot, "pagedown")
        assert isinstance(app.screen, ConfirmScreen)
        assert not form.query_one("#box").visible
        assert "unused" in app.export_screenshot()  # the page shines through
        await play.press(pilot, "n")
        assert app.screen is form
        assert form.query_one("#box").visible
        assert not form.query_one(ToastRack).visible  # it would show a scrollbar beside each message


async def test_one_that_was_made_while_its_provider_was_asked_is_asked_for_again(
    stage: Any, play: SimpleNamespace, clock: Any
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5")
        order = stage.desk.request_volume("huddle", "data", size_gib=100, region="FIN-01")
        ended = {"state": VolumeOrderState.MADE, "volume_id": "new-1", "ended_at_ms": clock.time_ms + 1}
        with stage.desk.store.write() as tx:
            volume_store.update_order(tx, order, {"state": VolumeOrderState.REQUESTING})
        with stage.desk.store.write() as tx:
            volume_store.update_order(tx, replace(order, state=VolumeOrderState.REQUESTING), ended)
        stage.clouds["huddle"].volumes.append(
            Volume("new-1", "huddle", "data", "ready", 100, None, "FIN-01", "Cloud_SSD", 10_000_000)
        )
        clock.time_ms += 2
        await play.until(pilot, lambda: "huddle new-1" in app.screen.query_one("#list", RowList).keys)


async def test_mistakes_are_told_at_their_field(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "n", "pagedown")
        assert app.screen.query_one("#row-name").has_class("-wrong")
        stage.clouds["huddle"].problem = Rejected("At least 10 GiB.", provider="huddle", field="size_gib")
        await describe(pilot, play, name="data", size="1", region="FIN-01")
        assert app.screen.query_one("#row-size").has_class("-wrong")
        assert "At least 10 GiB." in str(app.screen.query_one("#row-size .mistake", Static).content)
        assert "At least 10 GiB." not in play.text_of(pilot, "#price")  # once is enough
        await play.press(pilot, "escape")
        assert isinstance(app.screen, VolumesScreen)


def test_a_form_with_nothing_in_it_says_what_is_missing() -> None:
    empty = {"provider": "huddle", "name": " ", "size": "ten", "region": "", "kind": ""}
    assert set(read(empty)[1]) == {"name", "size", "region"}
    assert read({**empty, "name": "d", "size": "10", "region": "R"})[1] == {}


async def test_one_is_deleted_only_after_its_name_was_typed(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "ctrl+d", *"checkpoint", "enter", "enter")
        assert isinstance(app.screen, ConfirmScreen)
        assert play.buttons(pilot) == ["Keep esc", "Delete it enter"]
        await play.press(pilot, "escape")
        assert isinstance(app.screen, VolumesScreen)
        assert volume_store.load_open_orders(stage.desk.store) == []
        await play.press(pilot, "ctrl+d", *"checkpoints", "enter")
        order = order_of(stage)
        assert (order.wish, order.volume_id) == (VolumeWish.DELETE, "vol-9k2")
        assert "◌ being deleted" in play.line_of(pilot, UNUSED)
        app.screen.query_one("#list", RowList).select(UNUSED)
        await play.settle(pilot)
        assert "a month until it is gone" in play.text_of(pilot, "#detail")
        await play.press(pilot, "ctrl+d")
        assert isinstance(app.screen, VolumesScreen)
        with stage.desk.store.write() as tx:
            volume_store.update_order(tx, order, {"state": VolumeOrderState.GONE, "ended_at_ms": 1})
        await play.until(pilot, lambda: UNUSED not in app.screen.query_one("#list", RowList).keys)


async def test_one_that_a_machine_has_is_not_deleted_and_it_says_why(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "down", "down", "ctrl+d")
        assert isinstance(app.screen, VolumesScreen)
        assert "ft-run-0142 has it" in play.toasts(pilot)[-1]


async def test_an_order_that_was_refused_stays_with_the_reason(stage: Any, play: SimpleNamespace) -> None:
    order = stage.desk.request_volume("huddle", "big", size_gib=9000, region="FIN-01")
    ended = {"state": VolumeOrderState.REFUSED, "error": "No room in FIN-01.", "ended_at_ms": stage.desk.clock.now_ms()}
    with stage.desk.store.write() as tx:
        volume_store.update_order(tx, order, ended)
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5")
        assert "✕ not made" in play.line_of(pilot, f"order {order.id}")
        assert "No room in FIN-01." in play.text_of(pilot, "#detail")
        await play.press(pilot, "ctrl+d")
        assert play.toasts(pilot)[-1] == "It was never made."


async def test_who_does_not_answer_is_told_and_what_it_has_stays_dim(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5")
        stage.clouds["runpod"].problem = Unreachable("runpod is away.", provider="runpod")
        await play.press(pilot, "r")
        assert "no answer from RunPod" in play.text_of(pilot, "#title")
        assert app.screen.query_one("#list", RowList).key == UNUSED


async def test_hostile_words_end_nothing(make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()
    evil = play.EVIL * 400
    stage.clouds["huddle"].volumes = [Volume(evil, "huddle", evil, evil, 1, None, evil, evil, None, (), None, evil)]
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "5", "ctrl+d", "escape", "n", "escape", "r")
        assert isinstance(app.screen, VolumesScreen)


# Pictures


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_full(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    stage.desk.request_volume("huddle", "new-data", size_gib=100, region="FIN-03")
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("5", "down"))


def test_picture_empty(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(make_stage().app(), terminal_size=play.SIZE, run_before=play.pressing("5"))


def test_picture_error(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["runpod"].problem = Unreachable("runpod did not answer within 20 s.", provider="runpod")
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("5"))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_of_the_form(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    async def run(pilot: Any) -> None:
        await play.pressing("5", "n")(pilot)
        await describe(pilot, play, name="data", size="100", region="FIN-01")

    assert snap_compare(stage.app(), terminal_size=size, run_before=run)


def test_picture_of_the_question(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("5", "ctrl+d", *"check"))
