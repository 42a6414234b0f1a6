"""How a view finds, starts and talks to the agent of its profile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gputui.local import daemon
from gputui.local.paths import Paths
from gputui.model.clock import Clock
from gputui.model.errors import AgentError
from gputui.model.units import Ms
from gputui.providers.registry import PROVIDERS
from gputui.store.agents import load_agent
from gputui.store.db import Store

if TYPE_CHECKING:
    from gputui.core.accounts import Accounts

HUNG_AFTER_MS = 15_000
_KEYS_PATIENCE_S = HUNG_AFTER_MS / 1000  # a busy machine is no hung agent


class AgentCondition(StrEnum):
    """`none`: nobody holds the lock; `hung`: somebody does but the heartbeat is old."""

    RUNNING = "running"
    HUNG = "hung"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class AgentState:
    """What can be said of the agent from outside. `beat_ms` is None when there never was one."""

    condition: AgentCondition
    pid: int | None
    beat_ms: Ms | None
    version: str | None
    accounts: Mapping[str, str]


def agent_state(store: Store, paths: Paths, *, now_ms: Ms) -> AgentState:
    """Return whether an agent watches this profile."""
    row = load_agent(store)
    holder = daemon.lock_holder(paths.agent_lock)
    if holder is None:
        beat_ms = row.beat_ms if row else None
        return AgentState(AgentCondition.NONE, None, beat_ms, row.version if row else None, {})
    signs_ms = (row.beat_ms if row else None, daemon.last_sign_ms(paths.agent_lock))
    fresh = row is not None and row.pid == holder and any(_is_fresh(sign_ms, now_ms) for sign_ms in signs_ms)
    starting = row is None or row.pid != holder
    condition = AgentCondition.RUNNING if fresh or starting else AgentCondition.HUNG
    beat_ms = row.beat_ms if row else None
    return AgentState(condition, holder, beat_ms, row.version if row else None, row.accounts if row else {})


def ensure_agent(
    store: Store, paths: Paths, accounts: Accounts, clock: Clock, environ: Mapping[str, str]
) -> AgentState:
    """Make sure that an agent runs and knows the keys this view knows. Raises AgentError."""
    state = agent_state(store, paths, now_ms=clock.now_ms())
    if state.condition is AgentCondition.HUNG:
        raise AgentError(
            f"The agent (pid {state.pid}) holds its lock but has not been heard of for a while.",
            hint="Run: gputui agent stop, then try again.",
        )
    if state.condition is AgentCondition.NONE:
        daemon.spawn_detached(
            ["--profile", paths.profile, "agent", "run", "--detached"],
            handover=accounts.handover(),
            log_path=paths.agent_log,
            environment=_without_keys(environ),
        )
        return agent_state(store, paths, now_ms=clock.now_ms())
    return _share_keys(store, paths, accounts, clock, state)


def key_inbox_path(paths: Paths) -> Path:
    """Return the named pipe through which this profile's agent takes keys."""
    return paths.state_dir / "agent.keys"


def _share_keys(store: Store, paths: Paths, accounts: Accounts, clock: Clock, state: AgentState) -> AgentState:
    mine = accounts.fingerprints()
    if all(state.accounts.get(name) == fingerprint for name, fingerprint in mine.items()):
        return state
    deadline = time.monotonic() + _KEYS_PATIENCE_S
    posted = daemon.post_keys(key_inbox_path(paths), accounts.handover())
    while time.monotonic() < deadline:
        state = agent_state(store, paths, now_ms=clock.now_ms())
        if all(state.accounts.get(name) == fingerprint for name, fingerprint in mine.items()):
            return state
        time.sleep(0.05)
        if not posted:
            posted = daemon.post_keys(key_inbox_path(paths), accounts.handover())
    raise AgentError("The running agent did not take the keys.", hint="Run: gputui agent stop, then try again.")


def _without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without provider keys: the agent gets those through its pipe."""
    keys = {variable for info in PROVIDERS.values() for variable in info.key_variables}
    return {
        name: value
        for name, value in environ.items()
        if name not in keys
        and not name.endswith(("_API_KEY", "_API_KEY_FILE"))
        and not name.startswith("GPUTUI_VAULT_")
    }


def _is_fresh(sign_ms: Ms | None, now_ms: Ms) -> bool:
    """True for a sign of life from just now; one from the future is old: the clock went back since."""
    return sign_ms is not None and abs(now_ms - sign_ms) <= HUNG_AFTER_MS
