"""The interface over 50,000 offers: time of a filter keystroke, bytes on the line, memory."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from measure import PYTHON, clean_environment, offers, report, report_amount
from terminal import Terminal
from textual import events

from gputui.core.desk import Desk
from gputui.local.config import Config
from gputui.store.db import open_store
from gputui.store.offers import replace_snapshot
from gputui.tui.app import GputuiApp
from gputui.tui.terminal import calm_collector
from gputui.tui.widgets.offer_table import OfferTable

OFFERS = 50_000
UP, DOWN, RIGHT = "\x1b[A", "\x1b[B", "\x1b[C"
IDLE_S = 30


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environ = clean_environment(Path(home))
        # The mock's own offers are fetched as the program starts; the others need a provider with a key.
        environ["GPUTUI_HUDDLE_API_KEY"] = "fake-bench"
        environ["GPUTUI_HUDDLE_URL"] = "http://127.0.0.1:9"
        store = open_store(Path(home) / "state" / "gputui.db")
        now_ms = time.time_ns() // 1_000_000
        replace_snapshot(store, "huddle", offers(OFFERS, now_ms=now_ms), now_ms=now_ms, latency_ms=1)
        store.close()
        _keystrokes(Path(home))
        _line(environ)


def _keystrokes(home: Path) -> None:
    from gputui.core.accounts import HandedKeys
    from gputui.local.clock import SystemClock
    from gputui.local.paths import Paths
    from gputui.local.secrets import Secrets

    paths = Paths("default", home / "config", home / "state", home / "data")
    desk = Desk.assemble(
        paths, Config(), secrets=Secrets(paths, environ={}), keys=HandedKeys({"huddle": "fake-bench"}),
        clock=SystemClock(), environ={"GPUTUI_HUDDLE_URL": "http://127.0.0.1:9"}, agent_is_here=True,
    )  # fmt: skip
    try:
        asyncio.run(_type(GputuiApp(desk)))
    finally:
        desk.close()


async def _type(app: GputuiApp) -> None:
    calm_collector()  # as the program does when it starts
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press("slash")
        await pilot.pause()
        table = app.screen.query_one(OfferTable)
        times = []
        for character in "gpu:h100 $<2":
            painted = asyncio.Event()
            app.post_display_hook = painted.set  # type: ignore[method-assign]
            began = time.perf_counter()
            app.post_message(events.Key(character, character))
            async with asyncio.timeout(10):
                await painted.wait()
            times.append(time.perf_counter() - began)
            await pilot.pause()
        report(f"a filter keystroke over {OFFERS:,} offers, the slowest of {len(times)}", max(times), target_s=0.05)
        assert 0 < len(table.keys) < OFFERS


def _line(environ: dict[str, str]) -> None:
    terminal = Terminal([PYTHON, "-m", "gputui"], environ)
    try:
        report("first paint of the matrix, whole process", terminal.wait_for("GPU models"), target_s=0.8)
        terminal.bytes_in(6)
        terminal.press(DOWN * 3)
        report_amount("an arrow down in the matrix", terminal.press(DOWN), "B", target=4_000)
        report_amount("an arrow to the right in the matrix", terminal.press(RIGHT), "B", target=4_000)
        report_amount(f"an idle minute in the matrix (of {IDLE_S} s)", _idle(terminal), "B", target=2_000)
        terminal.press("2", quiet_s=4)
        terminal.press(DOWN * 3)
        report_amount("an arrow down in the offers", terminal.press(DOWN), "B", target=4_000)
        terminal.press(DOWN * 30)
        report_amount("an arrow down in the offers that scrolls", terminal.press(DOWN), "B", target=4_000)
        terminal.press("d")
        report_amount("an arrow down in the offers, with details", terminal.press(UP), "B", target=4_000)
        terminal.press("d")
        report_amount(f"an idle minute in the offers (of {IDLE_S} s)", _idle(terminal), "B", target=2_000)
        report_amount(f"resident memory with {OFFERS:,} offers", terminal.resident_mb, "MB", target=150)
    finally:
        terminal.close()


def _idle(terminal: Terminal) -> int:
    """Return what a minute of nothing writes."""
    return terminal.bytes_in(IDLE_S) * 60 // IDLE_S
