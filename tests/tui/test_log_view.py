"""What can be done with a log by keyboard: look for words, wrap, see times, mark, copy, save."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.core.runner.logfile import JobLog
from gputui.tui.widgets.ask_line import AskLine
from gputui.tui.widgets.log_pane import LogPane
from gputui.tui.widgets.log_view import LogView

SIZE = (60, 12)
ROWS = 12
"""Of the log: the line to type in is hidden."""


class LogApp(App[None]):
    """A log and nothing else."""

    # The variables of our themes that the log uses.
    CSS = "$state-waiting: yellow; $state-failed: red; $faint: gray; $muted: gray; $row-cursor: darkblue;"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def get_theme_variable_defaults(self) -> dict[str, str]:
        names = ("state-waiting", "state-failed", "state-running", "faint", "muted", "row-cursor")
        return dict.fromkeys(names, "#888888")

    def compose(self) -> ComposeResult:
        yield LogPane()

    def on_mount(self) -> None:
        pane = self.query_one(LogPane)
        pane.open(self.path, name="ft/run 1")
        pane.view.focus()

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    @property
    def facts(self) -> str:
        return "  ".join(fact.plain for fact in self.query_one(LogPane).facts(is_over=False))

    @property
    def shown(self) -> list[str]:
        return [self.view.render_line(y).text.rstrip() for y in range(self.view.size.height)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "job.log"
    path.write_bytes(b"".join(b"step %d loss 0.%d\n" % (number, number) for number in range(100)))
    return path


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def until(pilot: Pilot[Any], condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await pilot.pause(0.01)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def matches_on(app: LogApp, y: int) -> list[str]:
    """Return the texts of a row that are painted on a colour of their own."""
    plain = app.view.rich_style.bgcolor
    return [text for text, style, _ in app.view.render_line(y) if style and style.bgcolor not in (None, plain)]


async def opened(pilot: Pilot[Any], lines: int = 100) -> LogApp:
    app = pilot.app
    assert isinstance(app, LogApp)
    await until(pilot, lambda: app.view.line_count == lines and app.view.max_scroll_y >= lines - ROWS)
    await settle(pilot)
    return app


async def test_a_word_is_found_marked_and_counted_and_n_goes_round(path: Path) -> None:
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot)
        await press(pilot, "slash", *"STEP 7", "enter")
        assert "not found" in app.facts  # one with capitals is found only as it is
        await press(pilot, "slash", *["backspace"] * 6, *"step 7")
        assert "/step 7 in 11 lines" in app.facts  # 7, 70 to 79
        await press(pilot, "enter")
        assert app.view.has_focus
        assert "/step 7 11 of 11" in app.facts  # following: the newest
        y = app.shown.index("step 79 loss 0.79")
        assert matches_on(app, y) == ["step 7"]
        await press(pilot, "n")
        assert "1 of 11, past the end" in app.facts
        assert "step 7 loss 0.7" in app.shown
        await press(pilot, "n")
        assert "2 of 11" in app.facts
        assert "step 70 loss 0.70" in app.shown
        assert "past the end" not in app.facts
        await press(pilot, "N", "N")
        assert "11 of 11, past the end" in app.facts
        assert not app.view.follows


async def test_a_search_that_begins_further_up_goes_on_from_there(path: Path) -> None:
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot)
        await press(pilot, "g", *["pagedown"] * 2, "slash", *"loss 0.3", "enter")
        assert "2 of 11" in app.facts
        assert "step 30 loss 0.30" in app.shown


async def test_escape_leaves_the_line_and_then_the_search(path: Path) -> None:
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot)
        pane = app.query_one(LogPane)
        await press(pilot, "slash", *"loss", "enter")
        assert matches_on(app, 0)
        assert pane.escape()
        assert not matches_on(app, 0)
        assert not pane.escape()
        await press(pilot, "slash", *"loss")
        assert app.query_one(AskLine).is_asking
        assert pane.escape()
        await settle(pilot)
        assert app.view.has_focus
        assert app.view.search is None


async def test_lines_that_come_are_searched_too(path: Path) -> None:
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot)
        await press(pilot, "slash", *"needle", "enter")
        assert "not found" in app.facts
        with path.open("ab") as file:
            file.write(b"a nee")
        await until(pilot, lambda: app.view.line_count == 101)
        await settle(pilot)
        with path.open("ab") as file:
            file.write(b"dle came\nmore\n")
        await until(pilot, lambda: "in 1 line" in app.facts)
        await press(pilot, "n")
        assert "a needle came" in app.shown


async def test_wrapping_shows_whole_lines_and_keeps_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    long = "".join(f"{number:04d}" for number in range(40))  # 160 characters
    path.write_bytes(b"".join(b"%d %s\n" % (number, long.encode()) for number in range(30)))
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot, 30)
        width = app.view.scrollable_content_region.width
        assert all(line.endswith("›") and len(line) == width for line in app.shown)
        await press(pilot, "right")
        assert all(line.startswith("‹") for line in app.shown)
        await press(pilot, *["right"] * 40)
        assert app.shown[-1].endswith("0039")  # no further than the longest line
        await press(pilot, "w")
        assert app.shown[-1].endswith("0039")
        assert "".join(app.shown[-3:]) == f"29 {long}"
        await press(pilot, "up")
        assert "".join(app.shown[-2:]) == f"29 {long}"[: 2 * width]
        assert "paused" in app.facts
        await press(pilot, "g")
        assert "".join(app.shown[:3]) == f"0 {long}"
        await press(pilot, *["pagedown"] * 20)
        assert "".join(app.shown[-3:]) == f"29 {long}"
        assert "following" in app.facts
        await press(pilot, "w")
        assert app.shown[0].startswith("18 ")


@pytest.mark.parametrize("seed", range(3))
async def test_going_down_row_by_row_shows_every_row_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "job.log"
    lines = ["".join(chance.choices("abc ", k=chance.randrange(200))) + "." for _ in range(25)]
    path.write_text("\n".join(lines) + "\n")
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot, 25)
        await press(pilot, "w", "g")
        width = app.view.scrollable_content_region.width
        rows = [line[at : at + width].rstrip() for line in lines for at in range(0, len(line), width)]
        seen = app.shown
        while not app.view.follows:
            await press(pilot, "down")
            seen.append(app.shown[-1])
        assert seen == rows


async def test_a_log_that_is_whole_is_never_paused(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_text("".join(f"line {number}\n" for number in range(100)))
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot, 100)
        await press(pilot, "g")
        assert "paused: f follows" in app.facts
        whole = [fact.plain for fact in app.query_one(LogPane).facts(is_over=True)]
        assert whole == ["100 lines"]


async def test_times_come_from_the_index_and_gaps_and_machines_stand_between_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    log = JobLog(path)
    log.begin("one", now_ms=0)
    log.append("one", 0, b"first\nsecond\n", now_ms=3_661_000)
    log.mark_gap("the disk [/] was full", now_ms=3_662_000)
    log.append("one", 13, b"third\n", now_ms=3_722_000)
    log.begin("two", now_ms=3_800_000)
    log.append("two", 0, b"fourth\n", now_ms=3_801_000)
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = pilot.app
        assert isinstance(app, LogApp)
        await until(pilot, lambda: app.view.line_count == 4)
        await settle(pilot)
        text = [line for line in app.shown if line]
        assert text == [
            "first",
            "second",
            "── a stretch of the log is lost here: the disk [/] was f" + text[2][-4:],
            "third",
            "── another machine from here on ──",
            "fourth",
        ]
        assert "1 stretch lost" in app.facts
        await press(pilot, "t")
        assert app.shown[0] == "01-01 01:01:01 first"
        assert app.shown[3] == "01-01 01:02:02 third"
        assert app.shown[5] == "01-01 01:03:21 fourth"
        await press(pilot, "slash", *"third", "enter")
        assert matches_on(app, 3) == ["third"]


async def test_marked_lines_are_copied_and_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux,1,0")
    async with LogApp(path).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot)
        await press(pilot, "y")
        assert app.clipboard == "step 99 loss 0.99"
        await press(pilot, "m", "up", "up")
        assert "3 marked: y copies" in app.facts
        await press(pilot, "y")
        assert app.clipboard == "step 97 loss 0.97\nstep 98 loss 0.98\nstep 99 loss 0.99"
        told = list(app._notifications)[-1]
        assert told.title == "Copied 3 lines"
        assert "step 97" in told.message
        assert "set-clipboard on" in told.message
        await press(pilot, *["pageup"] * 20)
        assert app.view.scroll_offset.y == 0
        await press(pilot, "y")
        assert len(app.clipboard.splitlines()) == 100
        assert "and 96 more" in list(app._notifications)[-1].message
        assert app.query_one(LogPane).escape()
        assert app.view.marked_count == 0


async def test_more_than_terminals_take_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(b"".join(b"%0999d\n" % number for number in range(100)))
    async with LogApp(path).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot)
        await press(pilot, "m", "g", "y")
        assert app.clipboard == ""
        assert list(app._notifications)[-1].title == "Not copied"


async def test_the_log_is_saved_whole_to_a_new_file_only(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with LogApp(path).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot)
        await press(pilot, "ctrl+s")
        assert app.query_one(Input).value == "ft-run-1.log"
        await press(pilot, "enter")
        copy = tmp_path / "ft-run-1.log"
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o600
        assert list(app._notifications)[-1].title == "The log is saved"
        with path.open("ab") as file:
            file.write(b"more\n")
        before = copy.read_bytes()
        await press(pilot, "ctrl+s", "enter")
        assert list(app._notifications)[-1].title == "Not saved"
        assert copy.read_bytes() == before


async def test_bytes_of_all_kinds_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    chance = random.Random(4)
    lines = [bytes(chance.randrange(256) for _ in range(chance.randrange(300))).replace(b"\n", b"") for _ in range(400)]
    path.write_bytes(b"\n".join(lines) + b"\n\xff\xfe\x00\x1b[31mred\x1b[2J\x1b]0;title\x07 end\n" + b"z" * 400_000)
    async with LogApp(path).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, 402)
        await press(pilot, "t", "w", "g", *["pagedown"] * 30, "w", "slash", *"red end", "enter")
        assert "1 of 1" in app.facts
        assert "red end" in "".join(app.shown)
        await press(pilot, "G", "w")
        assert app.shown[-1].endswith("383,616 bytes more")
        assert not any(character < " " or character == "\x7f" for line in app.shown for character in line)


async def test_a_log_that_was_replaced_is_shown_and_searched_anew(path: Path) -> None:
    async with LogApp(path).run_test(size=SIZE) as pilot:
        app = await opened(pilot)
        await press(pilot, "slash", *"loss", "enter")
        path.write_bytes(b"new\n")
        await until(pilot, lambda: app.view.line_count == 1)
        await settle(pilot)
        assert app.shown[0] == "new"
        assert "not found" in app.facts
