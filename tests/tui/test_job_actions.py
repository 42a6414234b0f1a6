"""What a key on the jobs page does, or why it does nothing; and the log in, with the program that would run injected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from quiet import press
from textual.pilot import Pilot

from gputui.core.desk import Desk
from gputui.tui.app import GputuiApp
from gputui.tui.clipboard import doubt_of

SIZE = (120, 36)


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [str(toast.message) for toast in pilot.app._notifications]


async def test_keys_that_can_do_nothing_say_why(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "s")
        assert "Nobody has reached the machine yet" in toasts(pilot)[-1]
        await press(pilot, "G", "x")
        assert toasts(pilot)[-1] == "big-07 is over: there is nothing to stop."
        await press(pilot, "S")
        assert toasts(pilot)[-1] == "The job has no machine."
        assert len(app.screen_stack) == 1


async def test_without_a_job_the_keys_say_what_to_do(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "x")
        assert toasts(pilot)[-1] == "There is no job yet. n describes one."


async def test_a_terminal_that_cannot_be_lent_is_told_and_the_command_copied(app: GputuiApp, desk: Desk) -> None:
    placement = desk.jobs()[0].placement
    assert placement is not None
    with desk.store.write() as tx:
        tx.execute(
            "UPDATE placements SET ssh_host = '192.0.2.7', ssh_port = 2222, host_key = 'ssh-ed25519 AAAAfake' WHERE id = ?",
            [placement.id],
        )
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "4", "s")
        assert "cannot be lent to ssh" in toasts(pilot)[-1]
        assert "-- 192.0.2.7" in toasts(pilot)[-1]
        await press(pilot, "S")
        assert app.clipboard.startswith("ssh -F none")
        assert app.clipboard.endswith("-- 192.0.2.7")


@pytest.mark.parametrize(
    ("environ", "doubts"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, True),
        ({"TERM": "screen-256color", "STY": "1.tty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, True),
        ({"TERM": "linux"}, True),
    ],
)
def test_terminals_that_may_not_take_a_copy_are_known(environ: dict[str, str], doubts: bool) -> None:
    assert (doubt_of(environ) is not None) is doubts
