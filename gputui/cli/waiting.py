"""Waiting for the agent to have done something, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gputui.model.errors import GputuiError

if TYPE_CHECKING:
    from gputui.core.desk import Desk

_GLANCE_S = 0.1
_GUARD_EVERY_S = 2.0


def wait_until(desk: Desk, is_done: Callable[[], bool], *, deadline_s: float, otherwise: str, hint: str) -> None:
    """Return once `is_done`, asked whenever the store has changed, says so; the agent is kept alive meanwhile.

    Raises GputuiError with `otherwise` and `hint` at the deadline, AgentError when there is no agent to do it.
    """
    deadline = time.monotonic() + deadline_s
    next_guard = 0.0
    version = -1
    while True:
        now_version = desk.store.data_version()
        if now_version != version and is_done():
            return
        version = now_version
        if time.monotonic() >= next_guard:
            desk.guard()
            next_guard = time.monotonic() + _GUARD_EVERY_S
        if time.monotonic() >= deadline:
            raise GputuiError(otherwise, hint=hint)
        time.sleep(_GLANCE_S)
