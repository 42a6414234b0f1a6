"""Pictures of the log and of the job over it: found words, times and wrapped lines, marked ones, the line to type in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot

from gputui.core.runner.logfile import JobLog
from gputui.model.vitals import Vitals
from gputui.store.vitals import save_vitals
from gputui.tui.app import GputuiApp

WIDE, SMALL = (120, 36), (80, 24)
Snap = Callable[..., bool]


@pytest.fixture
def app(make_desk: Any, kit: SimpleNamespace) -> GputuiApp:
    """Return the interface with a running job whose machine tells of itself, and a log with a gap and long lines."""
    desk = make_desk()
    kit.fill_market(desk)
    job = kit.fill_jobs(desk)[-1]
    assert job.placement_id is not None
    lines = kit.write_log(desk, job).read_bytes().splitlines(keepends=True)
    path = desk.log_path(job.id)
    path.unlink()
    log = JobLog(path)
    log.begin(job.placement_id, now_ms=kit.NOW_MS - 60 * kit.MINUTE_MS)
    log.append(job.placement_id, 0, b"".join(lines[:40]), now_ms=kit.NOW_MS - 59 * kit.MINUTE_MS)
    log.mark_gap("the machine's disk was full", now_ms=kit.NOW_MS - 30 * kit.MINUTE_MS)
    rest = b"".join(lines[40:]) + b"sample: " + b"the quick brown fox " * 10 + b"\nsaved checkpoint-0600\n"
    log.append(job.placement_id, log.size, rest, now_ms=kit.NOW_MS - kit.MINUTE_MS)
    vitals = Vitals(
        job.placement_id, kit.NOW_MS - 2_000, guard="no_key", gpu_at_ms=kit.NOW_MS - 2_000, gpu_percent=97.0,
        gpu_used_mib=72_908, gpu_total_mib=81_559, gpu_watts=412.0,
    )  # fmt: skip
    with desk.store.write() as tx:
        save_vitals(tx, vitals)
    return GputuiApp(desk)


def pressing(*keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    async def run(pilot: Pilot[Any]) -> None:
        for key in ("4", *keys):
            await pilot.press(key)
            await settle(pilot)
        field = pilot.app.focused
        if field is not None and hasattr(field, "cursor_blink"):
            field.cursor_blink = False
            await settle(pilot)

    return run


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(3):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=["wide", "small"])
def test_found(snap_compare: Snap, app: GputuiApp, size: tuple[int, int]) -> None:
    keys = ("l", "slash", *"loss 0.17", "enter", "N")
    assert snap_compare(app, terminal_size=size, run_before=pressing(*keys))


def test_not_found_while_typing(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("l", "slash", *"oom"))


def test_times_and_wrapped_lines_in_the_whole_window(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("l", "z", "t", "w"))


def test_marked_and_copied(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("l", "m", "up", "up"))


def test_saving(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("l", "ctrl+s"))


def test_guards_and_events(snap_compare: Snap, app: GputuiApp) -> None:
    assert snap_compare(app, terminal_size=WIDE, run_before=pressing("e"))
