"""The terminal, and the signals it sends: it is left as it was found, whatever ends the interface."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gputui.tui.app import GputuiApp

_END_S = 5.0
"""How long the interface may take to end once its terminal is gone: what it still writes may block for ever."""
_READ_S = 600.0
_SSH_FAILED = 255
_LOOK_THROUGH_ALL_EVERY_S = 600.0
_all_looked_through_s = time.monotonic()


async def run_in_terminal(app: GputuiApp, *, mouse: bool = True) -> None:
    """Show an application until it ends, by itself or because its terminal was closed or it was told to."""
    loop = asyncio.get_running_loop()

    def end(told: signal.Signals) -> None:
        app.exit(return_code=128 + told)
        watchdog = threading.Timer(_END_S, os._exit, (128 + told,))
        watchdog.daemon = True
        watchdog.start()

    for told in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(told, end, told)
    calm_collector()
    try:
        await app.run_async(mouse=mouse)
    finally:
        for told in (signal.SIGHUP, signal.SIGTERM):
            loop.remove_signal_handler(told)


def calm_collector() -> None:
    """Have Python look for garbage often and at little, while lines run by: 60 ms at once can be seen."""
    gc.freeze()  # what was loaded until now stays anyway
    gc.set_threshold(5_000, 10, 10)
    gc.enable()


@contextmanager
def collector_held() -> Iterator[None]:
    """Within this, tens of thousands of things that stay for long are made: Python does not look through them for garbage.

    Looking takes a tenth of a second, as a rule while somebody types. What is let go later is freed all the same, but for
    rings of things that refer to each other: for those everything is looked through now and then.
    """
    global _all_looked_through_s
    if time.monotonic() - _all_looked_through_s >= _LOOK_THROUGH_ALL_EVERY_S:
        _all_looked_through_s = time.monotonic()
        gc.unfreeze()
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def lend(argv: Sequence[str]) -> int:
    """Give the terminal to a command until it ends, and return its exit code. Raises OSError when it cannot be started.

    Keys that interrupt are for the command alone. When ssh could not connect, its words stay until enter is pressed.
    """
    kept = {told: signal.signal(told, _for_the_command) for told in (signal.SIGINT, signal.SIGQUIT)}
    try:
        code = subprocess.call(argv)
        if code == _SSH_FAILED and sys.__stdout__ is not None and sys.__stdin__ is not None:
            sys.__stdout__.write("\nssh ended with an error. Press enter to go back to gputui. ")
            sys.__stdout__.flush()
            if select.select([sys.__stdin__], [], [], _READ_S)[0]:
                os.read(sys.__stdin__.fileno(), 4096)
    finally:
        for told, handler in kept.items():
            signal.signal(told, handler)
    return code


def _for_the_command(_signal: int, _frame: object) -> None:
    """Do nothing; unlike an ignored signal, the command starts with its own handling of it."""
