"""When an application under test has nothing left to do, told by its event loop and not by how busy the processor is.

Textual's own pilot takes a process that uses no processor time for idle. On a machine that other tests share, a process that
merely waits for its turn looks the same, and keys were pressed before what they are for was on the screen.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from textual.pilot import Pilot

# Textual paints sixty times a second; a timer that is due later than this is one that a test waits for itself.
SOON_S = 0.03
# Timers that never end, such as those of an animation, keep nobody longer than this; nor do threads, which may have to wait
# for their turn on a busy machine.
TIMERS_S, THREADS_S = 3.0, 60.0


async def until_quiet(min_sleep: float = 0.0, max_sleep: float = 0.0) -> None:
    """Return once no callback is ready, no timer is due soon and no thread works; the latter two within limits."""
    del min_sleep, max_sleep
    await _until_nothing_is_left(TIMERS_S)


async def until_screen_is_quiet(pilot: Pilot[Any], timeout: float = 0.0) -> bool:
    """The same for a pilot, which would ask every widget on the screen whether it is done, at each key and pause."""
    del pilot, timeout
    await until_quiet()
    return True


async def until_handled(min_sleep: float = 0.0, max_sleep: float = 0.0) -> None:
    """The same, but wait for no timer: between two keys there may be no time to paint."""
    del min_sleep, max_sleep
    await _until_nothing_is_left(0.0)


async def _until_nothing_is_left(timers_s: float) -> None:
    loop: Any = asyncio.get_running_loop()
    threads_end_s, timers_end_s = time.monotonic() + THREADS_S, time.monotonic() + timers_s
    while True:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        now_s = time.monotonic()
        pause_s = _thread_s(loop) if now_s < threads_end_s else 0.0
        if pause_s:
            timers_end_s = now_s + timers_s  # what a thread brings is still to be painted
        elif now_s < timers_end_s:
            pause_s = _timer_s(loop)
        if not pause_s:
            return
        await asyncio.sleep(pause_s)


def _timer_s(loop: Any) -> float:
    """Return how long to wait for what is still to come soon, 0 for nothing."""
    now = loop.time()
    due = [handle.when() - now for handle in loop._scheduled if not handle.cancelled() and handle.when() - now < SOON_S]
    return max(0.0005, min(due)) if due else 0.0


def _thread_s(loop: Any) -> float:
    pool = loop._default_executor
    if not isinstance(pool, ThreadPoolExecutor):
        return 0.0
    is_at_work = pool._work_queue.qsize() > 0 or pool._idle_semaphore._value < len(pool._threads)
    return 0.001 if is_at_work else 0.0


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys one by one, each once the one before was dealt with, and wait for what they set going."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
