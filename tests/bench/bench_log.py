"""A job's log in the interface: opening and searching a million lines, following a quick one, bytes on the line."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import PYTHON, clean_environment, report, report_amount
from terminal import Terminal
from textual.pilot import Pilot

from gputui.core.accounts import HandedKeys
from gputui.core.desk import Desk
from gputui.local.clock import SystemClock
from gputui.local.config import Config
from gputui.local.paths import Paths
from gputui.local.secrets import Secrets
from gputui.model.states import JobStatus
from gputui.model.types import Job, JobSpec
from gputui.store import jobs as job_store
from gputui.store.db import open_store
from gputui.tui.app import GputuiApp
from gputui.tui.terminal import calm_collector
from gputui.tui.widgets.log_view import LogView

LINES = 1_000_000
LINE = b"step %7d  loss 0.1234  lr 2.9e-4  38.2k tok/s  grad_norm 1.034  mem 71.2 GiB  epoch 3/10  eta 1:02:03\n"
FOLLOW_S = 5.0
IDLE_S = 30
JOB = "01benchjob"
DOWN = "\x1b[B"


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        paths = Paths("default", Path(home) / "config", Path(home) / "state", Path(home) / "data")
        paths.ensure()
        _add_job(paths)
        log = paths.logs_dir / f"{JOB}.log"
        with log.open("wb") as file:
            for start in range(0, LINES, 10_000):
                file.write(b"".join(LINE % number for number in range(start, start + 10_000)))
            file.write(b"a needle at the end\n")
        asyncio.run(_watch(paths, log))
        _line(clean_environment(Path(home)), log)


def _add_job(paths: Paths) -> None:
    store = open_store(paths.database)
    now_ms = time.time_ns() // 1_000_000
    job = Job(
        id=JOB, spec=JobSpec(gpu="H100", command="x"), status=JobStatus.COMPLETED, phase="completed",
        created_at_ms=now_ms, name="bench", started_at_ms=now_ms, ended_at_ms=now_ms, exit_code=0,
    )  # fmt: skip
    with store.write() as tx:
        job_store.insert_job(tx, job)
    store.close()


async def _watch(paths: Paths, log: Path) -> None:
    desk = Desk.assemble(
        paths,
        Config(),
        secrets=Secrets(paths, environ={}),
        keys=HandedKeys({}),
        clock=SystemClock(),
        environ={},
        agent_is_here=True,
    )
    app = GputuiApp(desk)
    calm_collector()  # as the program does when it starts
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        view = app.screen.query_one(LogView)
        await _until(pilot, lambda: view.line_count > LINES)
        view.open(None)
        stalls = Stalls()
        await asyncio.sleep(3)
        print("  nothing to do: what the machine itself causes")
        stalls.tell()
        stalls = Stalls()
        began = time.perf_counter()
        view.open(log)
        await _until(pilot, lambda: view.line_count > LINES and view.scroll_offset.y == view.max_scroll_y)
        report(f"opening a log of {LINES:,} lines, its end shown", time.perf_counter() - began, target_s=0.3)
        stalls.tell()
        for word, what in (("a needle", "one line"), ("step", "every line"), ("nowhere", "no line")):
            stalls = Stalls()
            began = time.perf_counter()
            view.find(word)
            await _until(pilot, lambda: view.search_progress is None)
            report(f"looking for a word that {what} has", time.perf_counter() - began, target_s=1.0)
            stalls.tell()
        view.find("")
        log.write_bytes(b"")
        for wraps in (False, True):
            if wraps:
                view.action_wrap()
            view.action_end()
            print(f"  1,000 lines a second for {FOLLOW_S:.0f} s{', wrapped' if wraps else ''}")
            await _follow(log)
    await desk.aclose()
    desk.close()


async def _follow(log: Path) -> None:
    stalls = Stalls()
    with log.open("ab", buffering=0) as file:
        began = time.perf_counter()
        written = 0
        while (passed_s := time.perf_counter() - began) < FOLLOW_S:
            due = int(passed_s * 1000)
            file.write(b"".join(LINE % number for number in range(written, due)))
            written = due
            await asyncio.sleep(0.01)
    stalls.tell()


class Stalls:
    """Measures how long the loop is busy in one go, from its making to `tell`: in time, and in time of the processor.

    The second is what the program itself is to blame for, whatever else the machine does.
    """

    def __init__(self) -> None:
        self._longest_s = self._busiest_s = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            began, began_busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.002)
            self._longest_s = max(self._longest_s, time.perf_counter() - began - 0.002)
            self._busiest_s = max(self._busiest_s, time.thread_time() - began_busy)

    def tell(self) -> None:
        self._task.cancel()
        report("  the longest stall of the loop", self._longest_s, target_s=0.05)
        report("  of it busy itself", self._busiest_s, target_s=0.05)


async def _until(pilot: Pilot[Any], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def _line(environ: dict[str, str], log: Path) -> None:
    """What travels: keys in the log, an idle minute on the page, a minute of ten lines a second."""
    log.write_bytes(b"".join(LINE % number for number in range(1_000)))
    terminal = Terminal([PYTHON, "-m", "gputui"], environ)
    try:
        terminal.wait_for("GPU models")
        terminal.bytes_in(6)
        terminal.press("4")
        terminal.bytes_in(2)
        report_amount(f"an idle minute on the jobs page (of {IDLE_S} s)", _idle(terminal), "B", target=2_000)
        terminal.press("l")
        terminal.press("\x1b[5~")
        report_amount("a line up in the log, which scrolls", terminal.press("\x1b[A"), "B", target=4_000)
        terminal.press("G")
        written = os.stat(log).st_size
        count = 0
        with log.open("ab", buffering=0) as file:
            for number in range(50):
                file.write(LINE % number)
                count += terminal.bytes_in(0.1)
        grown = os.stat(log).st_size - written
        report_amount("following 10 lines a second: bytes per line", count / 50, "B", target=2 * grown / 50)
    finally:
        terminal.close()


def _idle(terminal: Terminal) -> int:
    return terminal.bytes_in(IDLE_S) * 60 // IDLE_S


if __name__ == "__main__":
    main()
