"""Virtual time: an event loop that jumps to its next timer instead of waiting for it, and a clock that reads it.

Every sleep and deadline of plain asyncio code becomes virtual without the code knowing, so hours pass in milliseconds.
Work in threads of the default executor is waited for in real time, during which virtual time stands still. Sockets and
child processes answer in real time too, so code that waits for them with a deadline does not belong on this loop.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# 2026-01-05 09:00:00 UTC, a Monday: far from month, year and daylight-saving edges.
START_MS = 1_767_603_600_000
LIMIT_S = 90 * 86_400.0

_QUIET_REAL_S = 0.5
_THREAD_REAL_S = 30.0


class Deadlock(RuntimeError):
    """Nothing is ready and nothing is scheduled: whatever is awaited can never happen. Names the waiting tasks."""


class VirtualTimeLimit(RuntimeError):
    """The run went on past its limit of virtual time, most often a poll loop whose end never comes."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that hands the time it would have waited to `jump`."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda seconds: None
        self.threads_busy: Callable[[], bool] = lambda: False
        self.waiting: Callable[[], str] = lambda: ""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and len(self.get_map()) == 1 and not self.threads_busy():
            if timeout:
                self.jump(timeout)
            return []  # only the loop could wake itself: the system need not be asked, which takes its time
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.threads_busy():
            ready = super().select(_THREAD_REAL_S)
            if not ready:
                raise Deadlock(f"A thread did not finish within {_THREAD_REAL_S:g} real seconds. {self.waiting()}")
            return ready
        if timeout is None:
            ready = super().select(_QUIET_REAL_S)
            if not ready:
                raise Deadlock(f"Nothing is ready and nothing is scheduled. {self.waiting()}")
            return ready
        self.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time moves only when every task waits, and then at once to the next timer."""

    def __init__(self, *, start_ms: int = START_MS, limit_s: float = LIMIT_S) -> None:
        selector = _JumpingSelector()
        self._elapsed_s = 0.0
        self._start_ms = start_ms
        self._limit_s = limit_s
        self._busy_threads = 0
        super().__init__(selector)
        selector.jump = self._jump
        selector.threads_busy = lambda: self._busy_threads > 0
        selector.waiting = lambda: _describe_waiting(self)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._elapsed_s

    def now_ms(self) -> int:
        """Return virtual milliseconds since the epoch, UTC."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._busy_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._busy_threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._busy_threads -= 1

    def _thread_done(self, _future: object) -> None:
        self._busy_threads -= 1

    def _jump(self, seconds: float) -> None:
        self._elapsed_s += seconds
        if self._elapsed_s > self._limit_s:
            raise VirtualTimeLimit(f"More than {self._limit_s:g} virtual seconds passed. {_describe_waiting(self)}")


class VirtualClock:
    """A `model.clock.Clock` that tells the time of the running virtual loop. Use it inside `run_virtual` only."""

    def now_ms(self) -> int:
        """Return virtual milliseconds since the epoch, UTC. Raises RuntimeError outside a virtual loop."""
        loop: AbstractEventLoop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise RuntimeError("VirtualClock works only inside run_virtual")
        return loop.now_ms()


def run_virtual(main: Coroutine[Any, Any, T], *, start_ms: int = START_MS, limit_s: float = LIMIT_S) -> T:
    """Run a coroutine to its end in virtual time and return its result; like `asyncio.run` otherwise.

    Raises Deadlock when nothing can ever wake a task again, VirtualTimeLimit after `limit_s` virtual seconds.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_ms=start_ms, limit_s=limit_s)) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn an async test into a plain one that runs in virtual time; fixtures are handed through."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def _describe_waiting(loop: AbstractEventLoop) -> str:
    lines = [_where(task) for task in asyncio.all_tasks(loop)]
    return "Waiting: " + ("; ".join(sorted(lines)) or "no task") + "."


def _where(task: Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    place = f" at {frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else ""
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')}){place}"
