"""The deploy form and its review: keys pressed by intent, and what came of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from gputui.core.desk import Desk
from gputui.local.config import Config, ProviderConfig
from gputui.model.errors import Unreachable
from gputui.model.states import JobStatus
from gputui.model.types import JobKind, JobSpec, OsImage, Priority, Tier, Volume
from gputui.providers.huddle.client import HuddleClient
from gputui.providers.runpod.client import RunPodClient
from gputui.providers.runpod.mapping import SECURE
from gputui.store import offers as offer_store
from gputui.tui.app import GputuiApp
from gputui.tui.screens.deploy import DeployScreen
from gputui.tui.screens.jobs import JobsScreen
from gputui.tui.screens.pick import PickScreen
from gputui.tui.screens.review import ReviewScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)
EVIL = "[/]\x1b[2J[@click=app.quit]x[bold\u202e"


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def fill(pilot: Pilot[Any], **values: str) -> None:
    pilot.app.screen.query_one(DeployForm).fill(values)
    await settle(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


def form(pilot: Pilot[Any]) -> DeployForm:
    return pilot.app.screen.query_one(DeployForm)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def offered(pilot: Pilot[Any], field: str) -> dict[str, str]:
    """Return what a choice offers, with the word about each."""
    return {option.value: option.note for option in form(pilot).choice(field)._options}


def shown(pilot: Pilot[Any], field: str) -> str:
    return form(pilot).choice(field).render().plain


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [str(toast.message) for toast in pilot.app._notifications]


async def test_a_job_is_described_reviewed_and_submitted_by_keyboard_alone(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"H100-SXM", "enter", *"1", "down", "down", *"org/image", "enter", *"python a.py")
        plan = text_of(pilot, "#plan")
        assert "Huddle" in plan
        assert "1 asked for: 8 GPUs" in plan
        await press(pilot, "ctrl+r")
        assert isinstance(app.screen, ReviewScreen)
        review = text_of(pilot, "#text")
        for part in (
            "python a.py",
            "org/image",
            "$2.29/h",
            "no limit set",
            "the next best is tried",
            "bills 10 min or more",
        ):
            assert part in review, part
        assert len(desk.jobs()) == 4
        await press(pilot, "ctrl+j")
        assert isinstance(app.screen, JobsScreen)
        [job] = [report.job for report in desk.jobs() if report.job.status is JobStatus.QUEUED]
        assert (job.spec.gpu, job.spec.image, job.spec.command) == ("H100-SXM", "org/image", "python a.py")
        assert app.screen.report is not None
        assert app.screen.report.job.id == job.id


async def test_keys_that_come_in_one_burst_land_in_their_fields(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        for key in [
            *"L4",
            "enter",
            "2",
            "tab",
            "tab",
            *"org/image",
            "enter",
            "a",
            *["pagedown"] * 3,
            *"2h",
            "down",
            "3",
        ]:
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        values = app.screen.query_one(DeployForm).values
        typed = [values[name] for name in ("gpu", "gpu_count", "image", "command", "max_duration", "max_price")]
        assert typed == ["L4", "2", "org/image", "a", "2h", "3"]


async def test_nothing_but_the_button_and_its_key_submits(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x")
        await press(pilot, "ctrl+r", "enter")  # the focus is on Back
        assert isinstance(app.screen, DeployScreen)
        await press(pilot, "ctrl+r", *"dDnyY", "space")
        assert len(desk.jobs()) == 4


async def test_pressing_the_button_twice_submits_once(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x", max_duration="1h")
        await press(pilot, "ctrl+r")
        review = app.screen
        assert isinstance(review, ReviewScreen)
        review.action_deploy()
        review.action_deploy()
        await settle(pilot)
        assert len(desk.jobs()) == 5


async def test_mistakes_are_shown_at_their_field(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await press(pilot, "ctrl+r")
        assert app.screen.query_one("#row-gpu").has_class("-wrong")
        await fill(pilot, gpu="H1OO", command="x")
        await press(pilot, "ctrl+r")
        assert app.screen.query_one("#row-gpu").has_class("-wrong")
        assert app.focused is app.screen.query_one("#field-gpu")
        await fill(pilot, gpu="H100", command="")
        await press(pilot, "ctrl+r")
        assert not app.screen.query_one("#row-gpu").has_class("-wrong")
        assert app.screen.query_one("#row-command").has_class("-wrong")
        await fill(pilot, command="x", max_price="-2")
        await press(pilot, "ctrl+r")
        assert app.screen.query_one("#row-max-price").has_class("-wrong")


async def test_a_cap_that_removes_everything_says_so_and_what_would_help(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x", max_price="1")
        assert "under your cap of 1.00 $/h: the cheapest is 1.99 $/h" in text_of(pilot, "#plan").replace("\n", " ")
        await press(pilot, "ctrl+r")
        assert isinstance(app.screen, DeployScreen)
        assert app.screen.query_one("#row-max-price").has_class("-wrong")
        assert "Raise the cap to 1.99 or choose another GPU." in str(
            app.screen.query_one("#row-max-price .mistake", Static).content
        )
        assert toasts(pilot) == []


async def test_a_machine_needs_no_command(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"L40S", "up", "right")
        assert app.screen.query_one(DeployForm).values["kind"] == JobKind.MACHINE.value
        await press(pilot, "ctrl+r")
        assert isinstance(app.screen, ReviewScreen)
        assert "it runs until you stop it" in text_of(pilot, "#text")


async def test_what_does_not_apply_says_why_and_is_left_out(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="L40S", command="x", idle_stop="30m", kind=JobKind.MACHINE)
        for row, reason in (("command", "you log in to it"), ("idle-stop", "cannot be seen"), ("volumes", "choose a")):
            assert app.screen.query_one(f"#row-{row}").has_class("-unused")
            assert reason in str(app.screen.query_one(f"#row-{row} .reason").render())
        await press(pilot, "ctrl+r")
        assert isinstance(app.screen, ReviewScreen)
        assert (app.screen._spec.command, app.screen._spec.idle_stop_s) == (None, None)


async def test_the_steps_lead_to_the_review_and_back(app: GputuiApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x")
        for field in ("provider", "disk", "max_duration"):
            await press(pilot, "pagedown")
            assert form(pilot).focused_field == field
        await press(pilot, "pagedown")
        assert isinstance(app.screen, ReviewScreen)
        await press(pilot, "pageup", "pageup", "pageup")
        assert form(pilot).focused_field == "provider"


async def test_choices_offer_only_what_exists_with_what_it_costs(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"H100")
        assert offered(pilot, "provider") == {"": "", "huddle": "from $2.29/h", "mock": "from $1.99/h"}
        assert list(offered(pilot, "region")) == ["", "FIN-01", "FIN-03", "eu-north"]
        await fill(pilot, provider="huddle")
        assert list(offered(pilot, "region")) == ["", "FIN-01", "FIN-03"]
        await fill(pilot, gpu_count="8")
        assert offered(pilot, "provider") == {"": "", "huddle": "sold out", "mock": "none of these"}


async def test_another_provider_takes_its_region_and_images_along(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", provider="huddle")
        await fill(pilot, region="FIN-01", os_image="ubuntu-22")
        form(pilot).focus_field("provider")
        await press(pilot, "right")
        values = form(pilot).values
        assert [values[name] for name in ("provider", "region", "os_image")] == ["mock", "", ""]


async def test_values_that_look_secret_are_masked_and_never_shown_in_the_review(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"H100", "enter", "enter", "enter", "enter", *"x", "enter")
        await press(pilot, *"HF_TOKEN=fake-value-7", "enter", *"MODE=open", "tab")
        assert form(pilot).values["env"] == "HF_TOKEN=fake-value-7\nMODE=open"
        picture = app.export_screenshot()
        assert "fake-value-7" not in picture
        assert "MODE=open" in picture
        await press(pilot, "ctrl+r")
        assert "HF_TOKEN, MODE" in text_of(pilot, "#text")
        assert "open" not in text_of(pilot, "#text")


async def test_images_are_fetched_aside_and_a_failure_can_be_asked_again(
    app: GputuiApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asyncio.Event()
    asked: list[bool] = []

    async def images(self: HuddleClient, offer: object = None) -> list[OsImage]:
        asked.append(True)
        await answer.wait()
        if len(asked) == 1:
            raise Unreachable(f"huddle does not answer {EVIL}.", provider="huddle")
        return [OsImage("huddle", "img-1", "Ubuntu 22.04", is_default=True), OsImage("huddle", "img-2", EVIL)]

    monkeypatch.setattr(HuddleClient, "list_os_images", images)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        form(pilot).fill({"gpu": "H100", "provider": "huddle", "command": "x"})
        await _until(pilot, lambda: "asking Huddle for its images" in shown(pilot, "os_image"))
        answer.set()
        await _until(pilot, lambda: "space asks again" in shown(pilot, "os_image"))
        form(pilot).focus_field("os_image")
        await press(pilot, "space")
        assert offered(pilot, "os_image")["img-1"] == "img-1"
        form(pilot).focus_field("os_image")
        await press(pilot, "right", "right")
        assert form(pilot).values["os_image"] == "img-2"
        await press(pilot, "ctrl+r")
        assert app.screen._spec.os_image == "img-2"  # type: ignore[attr-defined]


async def test_volumes_are_chosen_from_the_provider_s_own(
    make_desk: Any, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [
        Volume("vol-1", "runpod", "data", "ok", size_gib=100, region="EU-1", mount_path="/workspace",
               price_micro_usd_per_month=7_000_000),
        Volume("vol-2", "runpod", EVIL, "ok", mount_path="/workspace"),
    ]  # fmt: skip

    async def volumes(self: RunPodClient) -> list[Volume]:
        return there

    monkeypatch.setattr(RunPodClient, "list_volumes", volumes)
    desk = make_desk(keys=("runpod",), config=Config(providers={"runpod": ProviderConfig()}))
    offers = [
        replace(kit.offer("runpod", "H100-SXM", price, region=region), native={"cloud": SECURE})
        for price, region in ((2.5, "EU-1"), (2.4, "US-1"))
    ]
    offer_store.replace_snapshot(desk.store, "runpod", offers, now_ms=kit.NOW_MS, latency_ms=1)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x", provider="runpod")
        assert offered(pilot, "volumes")["data"] == "100 GiB, EU-1, $7.00 a month"
        form(pilot).focus_field("volumes")
        await press(pilot, "space")
        assert isinstance(app.screen, PickScreen)
        await press(pilot, "enter")
        assert form(pilot).values["volumes"] == "data"
        assert " 1 of " in text_of(pilot, "#plan-title")
        assert "is in US-1, the volume data in EU-1" in " ".join(text_of(pilot, "#plan").split())
        await press(pilot, "ctrl+r")
        review = text_of(pilot, "#text")
        assert "data   at /workspace" in review
        assert "the volume data goes on costing $7.00 a month" in " ".join(review.split())


async def test_running_a_job_again_keeps_everything_it_was_asked_for_with(desk: Desk, kit: SimpleNamespace) -> None:
    spec = JobSpec(
        gpu="H100-SXM",
        image="org/image",
        command="python a.py",
        name="again",
        env={"A": "b c", "HF_TOKEN": "fake-token"},
        provider="huddle",
        region="FIN-09",
        tier=Tier.SPOT,
        os_image="img-old",
        disk_gib=200,
        min_vram_gib=40,
        max_price_micro_usd_per_hour=3_000_000,
        max_duration_s=5400,
        expected_s=1800,
        priority=Priority.SPEED,
        idle_stop_s=1800,
        idle_threshold_percent=10,
    )
    kit.add_job(desk, 9, JobStatus.FAILED, name="again", spec=spec, ended_ago_ms=0)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        app.open_job(desk.job("again").job.id)
        await press(pilot, "R")
        screen = app.screen
        assert isinstance(screen, DeployScreen)
        assert screen._right_spec() == spec
        assert "No spot offer" in text_of(pilot, "#plan") or "in region FIN-09" in text_of(pilot, "#plan")


async def test_running_a_machine_again_keeps_its_limit(desk: Desk, kit: SimpleNamespace) -> None:
    spec = JobSpec(gpu="L40S", kind=JobKind.MACHINE, max_duration_s=7200, expected_s=3600)
    kit.add_job(desk, 9, JobStatus.FAILED, name="box", spec=spec, ended_ago_ms=0)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        app.open_job(desk.job("box").job.id)
        await press(pilot, "R", "ctrl+r")
        assert isinstance(app.screen, ReviewScreen)
        assert app.screen._spec == spec


async def test_a_provider_that_fails_is_told_beside_its_old_prices(app: GputuiApp, desk: Desk) -> None:
    offer_store.note_failed_refresh(desk.store, "huddle", now_ms=desk.clock.now_ms(), error=EVIL, error_code="x")
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"H100")
        assert "its prices are old: [/][2J[@click" in text_of(pilot, "#plan")


async def test_those_that_nearly_fit_come_first_and_the_others_are_counted(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", provider="huddle", max_price="2.28")
        lines = [line.split() for line in text_of(pilot, "#plan").splitlines() if "✕" in line]
        assert [" ".join(line) for line in lines] == [
            "✕ Huddle over your cap of $2.28/h: from $2.29/h 2 offers",
            "✕ elsewhere only Huddle allowed: Mock 2 offers",
            "✕ other sizes 1 asked for: 8 GPUs 1 offer",
        ]


async def test_the_second_best_says_why_it_lost(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3", *"H100-SXM")
        why = "2 costs the same"
        assert why in text_of(pilot, "#plan")
        await fill(pilot, gpu="H100")
        why = "2 is $0.40 dearer for 1 h: its list price is $0.30/h higher, its start and minimum add $0.10/h"
        assert why in " ".join(text_of(pilot, "#plan").split())


async def test_the_review_tells_the_dearest_that_may_be_tried_and_who_guards(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x", max_duration="4h", max_price="3", idle_stop="30m:10%", expected="2h")
        await press(pilot, "ctrl+r")
        review = " ".join(text_of(pilot, "#text").split())
        for part in (
            "effective for 2 h",
            "$7.96 for 4 h and a start of 2 s; $9.96 on the dearest of those that may be tried",
            "a dearer machine is ended at once",
            "stopped once every GPU was used less than 10 % for 30 min",
            "agent only: Mock gives machines no key",
        ):
            assert part in review, part


async def test_hostile_names_of_regions_stay_text(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    offers = [kit.offer("huddle", "H100-SXM", 1.0 + place, region=f"{EVIL}{place}") for place in range(6)]
    offer_store.replace_snapshot(desk.store, "huddle", offers, now_ms=kit.NOW_MS, latency_ms=1)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        await fill(pilot, gpu="H100", command="x")
        form(pilot).focus_field("region")
        await press(pilot, "right", "space", "down", "enter", "ctrl+r")
        assert isinstance(app.screen, ReviewScreen)
        assert app.screen._spec.region == f"{EVIL}1"
        assert "\x1b" not in text_of(pilot, "#text")


async def _until(pilot: Pilot[Any], condition: Any, *, deadline_s: float = 60.0) -> None:
    """Let the application work until something is so."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await pilot.pause(0.01)
