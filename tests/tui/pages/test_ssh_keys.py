"""The matrix of SSH keys: this machine's first, added and removed cell by cell."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gputui.core.resources import local_public_keys, public_key_of
from gputui.model.errors import Rejected, Unreachable
from gputui.model.types import SshKey
from gputui.providers.registry import PROVIDERS, provider_info
from gputui.tui.render import ssh_keys as keys_render
from gputui.tui.render.ssh_keys import KeyColumn
from gputui.tui.screens.confirm import ConfirmScreen
from gputui.tui.screens.ssh_keys import SshKeysScreen
from gputui.tui.widgets.key_matrix import KeyMatrix


def public_line(seed: int, comment: str) -> str:
    """Return a well-formed ed25519 public key of no private one."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([seed]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


MINE, WORK, CI = public_line(1, "me@laptop"), public_line(2, "me@work"), public_line(3, "ci")
MINE_PRINT, CI_PRINT = public_key_of(MINE).fingerprint, public_key_of(CI).fingerprint


def keys_for(stage: Any, home: Path) -> None:
    """Put two keys into ~/.ssh, and some at the providers."""
    folder = home / ".ssh"
    folder.mkdir()
    (folder / "id_ed25519.pub").write_text(MINE)
    (folder / "work.pub").write_text(WORK)
    (folder / "broken.pub").write_text("not a key")
    stage.clouds["huddle"].keys = [
        SshKey("h-1", "huddle", "laptop", None, MINE),
        SshKey("h-2", "huddle", "ci", None, CI),
    ]
    stage.clouds["lambda"].keys = [SshKey("l-1", "lambda", "laptop key", None, MINE)]
    stage.clouds["vastai"].keys = [SshKey("v-9", "vastai", "old", "SHA256:unknown-elsewhere", None)]


@pytest.fixture
def stage(make_stage: Any, home: Path) -> Any:
    made = make_stage()
    keys_for(made, home)
    return made


def cells(pilot: Any, key: str) -> dict[str, str]:
    line = pilot.app.screen.matrix._lines[key]
    return {name: state.value for name, state in line.cells.items()}


async def test_keys_of_this_machine_come_first_and_are_the_same_wherever_their_print_is(
    stage: Any, play: SimpleNamespace
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6")
        keys = app.screen.query_one(KeyMatrix).keys
        assert keys[0] == MINE_PRINT
        assert len(keys) == 4
        present = [name for name, state in cells(pilot, MINE_PRINT).items() if state == "present"]
        assert present == ["huddle", "lambda"]
        assert cells(pilot, MINE_PRINT)["runpod"] == "absent"
        assert "~/.ssh/id_ed25519.pub" in play.text_of(pilot, "#detail")
        assert "Lambda: laptop key" in play.text_of(pilot, "#detail")


async def test_space_adds_the_key_to_the_provider_under_the_cursor(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "right", "space")
        assert "add_ssh_key me@laptop" in stage.clouds["runpod"].calls
        assert cells(pilot, MINE_PRINT)["runpod"] == "present"
        assert play.toasts(pilot)[-1] == "RunPod has the key now."


async def test_space_removes_it_only_after_a_question(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "space")
        assert isinstance(app.screen, ConfirmScreen)
        await play.press(pilot, "enter")
        assert len(stage.clouds["huddle"].keys) == 2
        await play.press(pilot, "space", "y")
        assert [key.id for key in stage.clouds["huddle"].keys] == ["h-2"]
        assert cells(pilot, MINE_PRINT)["huddle"] == "absent"
        assert cells(pilot, MINE_PRINT)["lambda"] == "present"


async def test_a_key_shows_as_busy_until_its_provider_answers_and_its_error_at_its_cell(
    stage: Any, play: SimpleNamespace
) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "right")
        gate = stage.clouds["runpod"].gate = asyncio.Event()
        await pilot.press("space")
        await play.until(pilot, lambda: cells(pilot, MINE_PRINT)["runpod"] == "busy")
        stage.clouds["runpod"].problem = Rejected("Too many keys.", provider="runpod")
        gate.set()
        await play.settle(pilot)
        assert cells(pilot, MINE_PRINT)["runpod"] == "failed"
        assert "RunPod: Too many keys." in play.text_of(pilot, "#detail")
        stage.clouds["runpod"].problem = None
        await play.press(pilot, "r", "space")
        assert cells(pilot, MINE_PRINT)["runpod"] == "present"


async def test_a_key_without_a_text_cannot_be_added_elsewhere(stage: Any, play: SimpleNamespace) -> None:
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "G", "space")
        assert "not known here" in play.toasts(pilot)[-1]


async def test_a_provider_that_is_silent_has_question_marks(stage: Any, play: SimpleNamespace) -> None:
    stage.clouds["lambda"].problem = Unreachable("lambda is away.", provider="lambda")
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6")
        assert cells(pilot, MINE_PRINT)["lambda"] == "unknown"
        assert "no answer from Lambda" in play.text_of(pilot, "#title")
        await play.press(pilot, "right", "right", "space")
        assert "has not told which keys it has" in play.toasts(pilot)[-1]


async def test_without_a_key_n_lends_the_terminal_to_make_one(
    make_stage: Any, play: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage()
    stage.clouds["huddle"].keys = [SshKey("h-2", "huddle", "ci", None, CI)]
    ran: list[list[str]] = []

    def make(argv: list[str]) -> int:
        ran.append(argv)
        (home / ".ssh" / "id_ed25519.pub").write_text(MINE)
        return 0

    app = stage.app()
    monkeypatch.setattr(app, "run_outside", make)
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6")
        assert "no key in ~/.ssh: n makes one" in play.text_of(pilot, "#title")
        await play.press(pilot, "n")  # a terminal that cannot be lent
        assert play.toasts(pilot)[-1].endswith("Run: ssh-keygen -t ed25519 -f " + str(home / ".ssh" / "id_ed25519"))
        monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
        await play.press(pilot, "n")
        assert ran == [["ssh-keygen", "-t", "ed25519", "-f", str(home / ".ssh" / "id_ed25519")]]
        assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
        assert app.screen.matrix.key == MINE_PRINT  # so that space adds the new one
        await play.press(pilot, "n")
        assert "There is a key already" in play.toasts(pilot)[-1]
        assert len(ran) == 1


async def test_a_private_key_without_its_public_one_is_not_written_over(
    make_stage: Any, play: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_text("private")
    app = make_stage().app()
    monkeypatch.setattr(app, "run_outside", lambda argv: pytest.fail(str(argv)))
    monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "n")
        assert "ssh-keygen -y -f ~/.ssh/id_ed25519" in play.toasts(pilot)[-1]


async def test_the_key_of_our_own_says_whose_it_is(make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()
    stage.clouds["huddle"].keys = [SshKey("h-2", "huddle", "gputui-abc", None, CI)]
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6")
        assert "gputui's own" in play.text_of(pilot, "#detail")


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_every_providers_name_is_whole(width: int) -> None:
    columns = [KeyColumn(name, provider_info(name).title) for name in PROVIDERS]
    header = keys_render.header(columns, width, cursor=0)
    assert header.cell_length <= width
    assert all(column.title in header.plain for column in columns)
    plan = keys_render.layout(columns, width)
    for position, column in enumerate(columns):
        assert plan.column_at(header.plain.index(column.title)) == position
    assert plan.column_at(0) is None


def test_only_public_keys_are_read_from_the_folder(stage: Any, home: Path) -> None:
    (home / ".ssh" / "leaked.pub").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert [path.name for path, _ in local_public_keys(home / ".ssh")] == ["id_ed25519.pub", "work.pub"]
    assert local_public_keys(home / "nowhere") == []


async def test_hostile_words_end_nothing(make_stage: Any, play: SimpleNamespace) -> None:
    stage = make_stage()
    evil = play.EVIL * 400
    stage.clouds["huddle"].keys = [SshKey(evil, "huddle", evil, evil, evil)]
    app = stage.app()
    async with app.run_test(size=play.SIZE, notifications=True) as pilot:
        await play.press(pilot, "6", "space", "n", "right", "space", "r")
        assert isinstance(app.screen, SshKeysScreen)


# Pictures


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=["wide", "small"])
def test_picture_full(snap_compare: Any, stage: Any, play: SimpleNamespace, size: Any) -> None:
    assert snap_compare(stage.app(), terminal_size=size, run_before=play.pressing("6", "right"))


def test_picture_empty(snap_compare: Any, make_stage: Any, play: SimpleNamespace) -> None:
    assert snap_compare(make_stage().app(), terminal_size=play.SIZE, run_before=play.pressing("6"))


def test_picture_error(snap_compare: Any, stage: Any, play: SimpleNamespace) -> None:
    async def run(pilot: Any) -> None:
        await play.pressing("6")(pilot)
        stage.clouds["runpod"].problem = Rejected("Too many keys.", provider="runpod")
        stage.clouds["vastai"].problem = Unreachable("vastai did not answer within 20 s.", provider="vastai")
        await play.press(pilot, "right", "space")

    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=run)


def test_picture_without_colour(
    snap_compare: Any, make_stage: Any, home: Path, play: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stage = make_stage()
    keys_for(stage, home)
    assert snap_compare(stage.app(), terminal_size=play.SIZE, run_before=play.pressing("6"))
