"""When an application under test has nothing left to do, told by its event loop and not by how busy the processor is.

Textual's own pilot takes a process that uses no processor time for idle. On a machine that other tests share, a process that
merely waits for its turn looks the same, and keys were pressed before what they are for was on the screen.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Textual paints sixty times a second; a timer that is due later than this is one that a test waits for itself.
SOON_S = 0.03
# Something that never ends, such as a request that a test holds back, keeps nobody longer than this.
PATIENCE_S = 3.0


async def until_quiet(min_sleep: float = 0.0, max_sleep: float = PATIENCE_S) -> None:
    """Return once no callback is ready, no timer is due soon and no thread works; at the latest after the patience."""
    del min_sleep, max_sleep
    loop: Any = asyncio.get_running_loop()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        await asyncio.sleep(0)
        if loop._ready:
            continue
        wait_s = max(_due_in_s(loop), 0.001 if _threads_work(loop) else 0.0)
        if not wait_s:
            return
        await asyncio.sleep(wait_s)


def _due_in_s(loop: Any) -> float:
    """Return how long the next timer wants, 0 without one that is due soon."""
    now = loop.time()
    due = [handle.when() - now for handle in loop._scheduled if not handle.cancelled() and handle.when() - now < SOON_S]
    return max(0.0005, min(due)) if due else 0.0


def _threads_work(loop: Any) -> bool:
    pool = loop._default_executor
    if not isinstance(pool, ThreadPoolExecutor):
        return False
    return pool._work_queue.qsize() > 0 or pool._idle_semaphore._value < len(pool._threads)
