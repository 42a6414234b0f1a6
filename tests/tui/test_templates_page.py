"""Templates in the deploy form: saved, chosen and deleted by keys."""

from __future__ import annotations

import json
from typing import Any

from textual.pilot import Pilot

from gputui.core.desk import Desk
from gputui.core.templates import load_templates
from gputui.tui.app import GputuiApp
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.deploy import DeployScreen
from gputui.tui.screens.templates import TemplatesScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted

SIZE = (80, 24)
WANTED = {"gpu": "H100", "command": "python a.py", "max_duration": "4h", "env": "HF_TOKEN=fake-token\nMODE=a"}


async def settle(pilot: Pilot[Any]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


async def filled(pilot: Pilot[Any], **values: str) -> None:
    """Open the form and fill it."""
    await settle(pilot)
    await press(pilot, "3")
    pilot.app.screen.query_one(DeployForm).fill(values)
    await settle(pilot)


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [str(toast.message) for toast in pilot.app._notifications]


async def test_a_template_is_saved_without_its_secrets_and_fills_the_form_again(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await filled(pilot, **WANTED)
        await press(pilot, "ctrl+s", *"train", "enter")
        assert "without the value of HF_TOKEN" in toasts(pilot)[-1]
        assert "fake-token" not in desk.paths.templates_file.read_text()
        await press(pilot, "ctrl+l", "ctrl+t")
        assert isinstance(app.screen, TemplatesScreen)
        await press(pilot, "enter")
        values = app.screen.query_one(DeployForm).values
        assert [values[name] for name in ("gpu", "command", "max_duration")] == ["H100", "python a.py", "4h"]
        assert values["env"] == "MODE=a\nHF_TOKEN="
        assert "fill in HF_TOKEN" in toasts(pilot)[-1]
        assert "template train" in app.screen.query_one("#steps", Painted).render().plain
        await press(pilot, "ctrl+r")
        assert isinstance(app.screen, DeployScreen)
        assert "HF_TOKEN has no value" in str(app.screen.query_one("#row-env .mistake").render())


async def test_secrets_are_kept_when_asked_for(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await filled(pilot, **WANTED)
        await press(pilot, "ctrl+s", *"train", "tab", "right", "enter")
        kept = load_templates(desk.paths.templates_file).named("train")
        assert dict(kept.spec.env) == {"HF_TOKEN": "fake-token", "MODE": "a"}


async def test_deleting_asks_first(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await filled(pilot, **WANTED)
        for name in ("one", "two"):
            await press(pilot, "ctrl+s", "ctrl+u", *name, "enter")
        await press(pilot, "ctrl+t", "ctrl+d")
        assert isinstance(app.screen, ConfirmScreen)
        await press(pilot, "enter")  # the focus is on No
        assert len(load_templates(desk.paths.templates_file).usable) == 2
        await press(pilot, "ctrl+d", "y")
        assert list(load_templates(desk.paths.templates_file).usable) == ["two"]


async def test_what_is_wrong_with_the_file_is_told_once(app: GputuiApp, desk: Desk) -> None:
    document = {"[/bad]": {"gpu": 1}, "worse": [], "good": {"gpu": "L4", "command": "x"}}
    desk.paths.templates_file.write_text(json.dumps(document))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await filled(pilot)
        await press(pilot, "ctrl+t")
        assert toasts(pilot) == ["[/bad]: gpu must be text.\nworse: must be an object."]
        assert isinstance(app.screen, TemplatesScreen)


async def test_a_form_that_is_wrong_is_not_saved(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await filled(pilot, gpu="H100", command="x", max_price="cheap")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, DeployScreen)
        assert app.screen.query_one("#row-max-price").has_class("-wrong")
        await press(pilot, "ctrl+t")
        assert "no template yet" in toasts(pilot)[-1]
