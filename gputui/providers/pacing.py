"""Keep to a provider's request limits together: the agent, the TUI and every CLI call of a profile share one budget.

The budget lies in a small file per account, locked for the moment it is changed. A pace is a token bucket; a share of it
can be kept for urgent requests, so that a refresh of offers never starves a termination. When the provider asks to slow
down, everybody waits as long as it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gputui.model.clock import Clock
from gputui.model.errors import RateLimited
from gputui.model.units import Ms
from gputui.providers.registry import provider_title

FOLDER = "pacing"
_BLOCKED_UNTIL = "blocked_until_ms"
_MAX_STATE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `burst` requests at once, then one every `every_s` seconds.

    `reserve` of the burst is for urgent requests only. `operations` are the names it holds for; None means every request.
    """

    name: str
    every_s: float
    burst: int = 1
    reserve: int = 0
    operations: frozenset[str] | None = None


class Pacer:
    """Grants requests to one provider. `urgent` names the operations that may use the reserve.

    `limits_are_per_operation` says that being asked to slow down with one operation means nothing for the others. An API
    beside the provider's main one, with limits of its own, has a name in `beside`.
    """

    def __init__(
        self,
        folder: Path,
        provider: str,
        paces: Sequence[Pace],
        *,
        clock: Clock,
        urgent: frozenset[str] = frozenset(),
        limits_are_per_operation: bool = False,
        beside: str = "",
    ) -> None:
        self._path = folder / f"{provider}{beside and '-'}{beside}.json"
        self._provider = provider
        self._paces = tuple(paces)
        self._clock = clock
        self._urgent = urgent
        self._limits_are_per_operation = limits_are_per_operation
        self._state: dict[str, float] = {}

    async def wait_turn(self, operation: str, *, deadline_s: float) -> None:
        """Return when the request may leave. Raises RateLimited when its turn does not come within `deadline_s`."""
        waited_s = 0.0
        while True:
            wait_s = self._try_take(operation)
            if wait_s <= 0:
                return
            if waited_s + wait_s > deadline_s:
                raise RateLimited(
                    f"The request limit of {provider_title(self._provider)} is used up for the next {wait_s:.0f} s.",
                    retry_after_s=wait_s,
                    provider=self._provider,
                    operation=operation,
                )
            wait_s = max(wait_s, 0.001)  # the clock counts milliseconds: a shorter wait would find it unchanged
            await asyncio.sleep(wait_s)
            waited_s += wait_s

    def slow_down(self, for_s: float, operation: str = "") -> None:
        """Let nobody ask for a while (or for this alone, where limits are per operation): the provider said so."""
        key = self._blocked_key(operation)
        with self._locked():
            now_ms = self._clock.now_ms()
            self._state[key] = max(now_ms + for_s * 1000, self._blocked_until_ms(key, now_ms))
            self._state[f"{key}_since"] = now_ms

    def _blocked_key(self, operation: str) -> str:
        return f"{operation}_{_BLOCKED_UNTIL}" if self._limits_are_per_operation else _BLOCKED_UNTIL

    def _blocked_until_ms(self, key: str, now_ms: int) -> float:
        """Return until when nobody may ask, 0 for no limit: also when that was said later than now, as the clock went back."""
        return self._state.get(key, 0) if self._state.get(f"{key}_since", 0) <= now_ms else 0

    def _try_take(self, operation: str) -> float:
        """Take one request from every pace that holds for it, or none and return how many seconds to wait."""
        matching = [pace for pace in self._paces if pace.operations is None or operation in pace.operations]
        with self._locked():
            now_ms = self._clock.now_ms()
            wait_s = (self._blocked_until_ms(self._blocked_key(operation), now_ms) - now_ms) / 1000
            filled = {}
            for pace in matching:
                tokens = self._tokens(pace, now_ms)
                needed = 1 if operation in self._urgent else 1 + pace.reserve
                filled[pace.name] = tokens
                wait_s = max(wait_s, (needed - tokens) * pace.every_s)
            if wait_s > 0:
                return wait_s
            for name, tokens in filled.items():
                self._state[f"{name}_tokens"] = tokens - 1
                self._state[f"{name}_at_ms"] = now_ms
            return 0.0

    def _tokens(self, pace: Pace, now_ms: int) -> float:
        at_ms = self._state.get(f"{pace.name}_at_ms")
        if at_ms is None or at_ms > now_ms:  # never used, or the clock went back
            return float(pace.burst)
        gained = (now_ms - at_ms) / 1000 / pace.every_s
        return min(float(pace.burst), self._state.get(f"{pace.name}_tokens", pace.burst) + gained)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Read the shared state, change it, write it back.

        A disk that cannot be written must not keep a machine from being ended: this process then keeps to the limits alone.
        """
        try:
            fd = self._open()
        except OSError:
            yield
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._state = _read(os.pread(fd, _MAX_STATE_BYTES, 0)) or self._state
            yield
            content = json.dumps(self._state).encode()
            with contextlib.suppress(OSError):
                os.pwrite(fd, content, 0)
                os.ftruncate(fd, len(content))
        finally:
            os.close(fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)


def pause_left_s(state_dir: Path, provider: str, now_ms: Ms) -> float | None:
    """Return for how many more seconds a provider asked for fewer requests, 0 for none, None where no limit is kept."""
    try:
        state = _read((state_dir / FOLDER / f"{provider}.json").read_bytes())
    except OSError:
        return None
    pauses_s = [(until_ms - now_ms) / 1000 for name, until_ms in state.items() if name.endswith(_BLOCKED_UNTIL)]
    return max([0.0, *pauses_s])


def _read(content: bytes) -> dict[str, float]:
    try:
        data = json.loads(content)
    except ValueError:
        return {}
    if not isinstance(data, dict):
        return {}
    return {str(name): float(value) for name, value in data.items() if isinstance(value, int | float)}
