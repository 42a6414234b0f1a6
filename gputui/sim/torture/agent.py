"""One agent process of a simulated host: it can be killed between any two of its steps, and then nothing of it goes on.

A step is whatever the rest of the world can see: a commit, a request to a provider, a call over a machine's shell, a write to
a job's log. The real supervisor runs inside; everything it reaches the world with is cut when it dies, so that what its
`finally` clauses still try comes to nothing, as after `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from gputui.core.crew import Crew
from gputui.core.runner import logfile
from gputui.core.supervisor import Supervisor
from gputui.model.clock import SteadyClock
from gputui.model.errors import ShellError
from gputui.model.shell import Shell, ShellResult
from gputui.sim.torture.recording import Recording
from gputui.store.db import Store, Tx


class StepKind(StrEnum):
    """What an agent does that others can see."""

    COMMIT = "commit"
    REQUEST = "request"
    SHELL = "shell"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Crash:
    """Die at the `nth` step of a kind: before it, or `after` it is done and before anybody here knows.

    Before the write of a log, half of it has already been written. `pause_s` later the next agent starts.
    """

    kind: StepKind
    nth: int
    after: bool
    pause_s: float


_leash_here: ContextVar[Leash | None] = ContextVar("leash", default=None)


class Killed(BaseException):
    """This agent is dead: raised by whatever it still tries."""


class Leash:
    """Counts an agent's steps, kills it at the planned one, and lets it take none after that."""

    def __init__(self, crash: Crash | None) -> None:
        self.is_dead = False
        self.on_death: Callable[[str], None] = lambda why: None
        self._crash = crash
        self._counts: Counter[StepKind] = Counter()

    def die(self, why: str) -> None:
        if not self.is_dead:
            self.is_dead = True
            self.on_death(why)

    def begins(self, kind: StepKind) -> None:
        """Note that a step is about to be taken. Raises Killed."""
        self._counts[kind] += 1
        if self._is_due(kind, after=False):
            self.die(f"before {kind} {self._counts[kind]}")
        self.check()

    def done(self, kind: StepKind) -> None:
        """Note that a step was taken. Raises Killed."""
        if self._is_due(kind, after=True):
            self.die(f"after {kind} {self._counts[kind]}")
        self.check()

    def check(self) -> None:
        """Raise Killed for a dead agent."""
        if self.is_dead:
            raise Killed

    def _is_due(self, kind: StepKind, *, after: bool) -> bool:
        crash = self._crash
        return crash is not None and (crash.kind, crash.nth, crash.after) == (kind, self._counts[kind], after)


class Agent:
    """A supervisor that can be killed. `ended` is set once nothing of it is left."""

    def __init__(
        self, name: str, crew: Crew, leash: Leash, recording: Recording, *, glance_s: float, steady: SteadyClock
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        self._crew = crew
        self._leash = leash
        self._recording = recording
        self._supervisor = Supervisor(crew, pid=1, host="sim", version="sim", glance_s=glance_s, steady=steady)
        leash.on_death = self._on_death
        recording.note(name, "starts")
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def die(self, why: str = "killed") -> None:
        """End between two of its steps."""
        self._leash.die(why)

    async def _run(self) -> None:
        _leash_here.set(self._leash)
        try:
            self._leash.check()
            await self._supervisor.run()
        except (Killed, asyncio.CancelledError):
            pass
        except BaseException as error:  # noqa: BLE001  whatever ended it is for the checks to judge
            self.error = error
            self._recording.note(self.name, f"ends: {type(error).__name__}: {error}")
        finally:
            self._leash.is_dead = True
            self._crew.store.close()
            self.ended.set()

    def _on_death(self, why: str) -> None:
        self._recording.note(self.name, f"dies {why}")
        self._task.cancel()


class _WatchedTx(Tx):
    """A transaction that knows the last event it added."""

    newest_event_id: int | None = None

    def insert(self, table: str, row: dict[str, Any]) -> int:
        row_id = super().insert(table, row)
        if table == "events":
            self.newest_event_id = row_id
        return row_id


class WatchedStore(Store):
    """A store that tells of every commit; with a leash its agent can die before and after each."""

    def __init__(self, inner: Store, recording: Recording, leash: Leash | None = None) -> None:
        super().__init__(inner._connection, inner.path)
        self._recording = recording
        self._leash = leash

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        if self._leash is not None:
            self._leash.begins(StepKind.COMMIT)
        with super().write():
            tx = _WatchedTx(self._connection)
            yield tx
        if tx.newest_event_id is not None:
            self._recording.committed(tx.newest_event_id)
        if self._leash is not None:
            self._leash.done(StepKind.COMMIT)


class LeashedTransport(httpx.AsyncBaseTransport):
    """The way of one agent to its providers; every request is noted with the status of its answer."""

    def __init__(self, inner: httpx.AsyncBaseTransport, recording: Recording, who: str, leash: Leash) -> None:
        self._inner = inner
        self._recording = recording
        self._who = who
        self._leash = leash

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = f"{request.method} {request.url.path}"
        self._leash.begins(StepKind.REQUEST)
        if request.method == "DELETE" or "terminate" in request.url.path:
            asked_for = f"{request.url.path} {(await request.aread()).decode()}"
            self._recording.deletions.append((self._recording.now_ms(), asked_for))
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.HTTPError as error:
            self._recording.note(self._who, f"{asked} -> {type(error).__name__}")
            self._leash.check()
            raise
        self._recording.note(self._who, f"{asked} -> {response.status_code}")
        self._leash.done(StepKind.REQUEST)
        return response


class LeashedShell:
    """A machine's shell as one agent holds it. `line` raises ShellError after a call whose answer does not come back."""

    def __init__(self, inner: Shell, leash: Leash, line: Callable[[], None]) -> None:
        self._inner = inner
        self._leash = leash
        self._line = line
        self._is_broken = False

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        self._leash.begins(StepKind.SHELL)
        await self._inner.put(path, content, mode=mode)
        self._came_back()

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        self._leash.begins(StepKind.SHELL)
        result = await self._inner.run(argv, timeout_s=timeout_s)
        self._came_back()
        return result

    async def close(self) -> None:
        await self._inner.close()

    def _came_back(self) -> None:
        self._leash.done(StepKind.SHELL)
        if self._is_broken:
            raise ShellError("The connection is broken (on purpose).")
        try:
            self._line()
        except ShellError:
            self._is_broken = True
            raise


@contextlib.contextmanager
def logs_on_a_leash() -> Iterator[None]:
    """Let agents die before and after what they write to a job's log, half of which is there in the first case."""
    append = logfile._append

    def leashed(path: Path, data: bytes) -> None:
        leash = _leash_here.get()
        if leash is None:
            return append(path, data)
        try:
            leash.begins(StepKind.LOG)
        except Killed:
            append(path, data[: len(data) // 2])
            raise
        append(path, data)
        return leash.done(StepKind.LOG)

    logfile._append = leashed
    try:
        yield
    finally:
        logfile._append = append
