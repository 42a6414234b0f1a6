"""Virtual time: jumps, order, threads, and the errors instead of hanging."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from gputui.sim.vtime import START_MS, Deadlock, VirtualClock, VirtualTimeLimit, run_virtual


def test_hours_of_sleep_take_no_real_time() -> None:
    async def main() -> int:
        await asyncio.sleep(5 * 3600)
        return VirtualClock().now_ms()

    began = time.monotonic()
    assert run_virtual(main()) == START_MS + 5 * 3_600_000
    assert time.monotonic() - began < 60


def test_start_is_given_and_fractions_of_a_second_count() -> None:
    async def main() -> tuple[int, int]:
        clock = VirtualClock()
        before = clock.now_ms()
        await asyncio.sleep(0.25)
        return before, clock.now_ms()

    assert run_virtual(main(), start_ms=1_000) == (1_000, 1_250)


def test_many_small_sleeps_do_not_drift() -> None:
    async def main() -> int:
        for _ in range(20_000):
            await asyncio.sleep(0.1)
        return VirtualClock().now_ms()

    assert run_virtual(main(), start_ms=0) == 2_000_000


def test_tasks_wake_in_the_order_of_their_timers() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def after(delay_s: float, name: str) -> None:
            await asyncio.sleep(delay_s)
            seen.append(name)

        await asyncio.gather(after(300, "slow"), after(1, "quick"), after(20, "middle"))
        return seen

    assert run_virtual(main()) == ["quick", "middle", "slow"]


def test_a_deadline_fires_in_virtual_time() -> None:
    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)
        return VirtualClock().now_ms()

    assert run_virtual(main(), start_ms=0) == 3_600_000


def test_a_deadlock_is_an_error_that_names_the_task() -> None:
    async def waits_for_nothing() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="waits_for_nothing"):
        run_virtual(waits_for_nothing())


def test_an_endless_poll_hits_the_limit() -> None:
    async def polls_for_ever() -> None:
        while True:
            await asyncio.sleep(10)

    with pytest.raises(VirtualTimeLimit, match="polls_for_ever"):
        run_virtual(polls_for_ever(), limit_s=3600)


def test_a_thread_is_waited_for_while_virtual_time_stands_still() -> None:
    async def main() -> tuple[str, int]:
        began = VirtualClock().now_ms()
        async with asyncio.timeout(1):
            answer = await asyncio.to_thread(lambda: time.sleep(0.05) or "done")
        return answer, VirtualClock().now_ms() - began

    assert run_virtual(main()) == ("done", 0)


def test_a_wake_up_from_a_foreign_thread_is_no_deadlock() -> None:
    async def main() -> str:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Timer(0.05, lambda: loop.call_soon_threadsafe(woken.set)).start()
        await woken.wait()
        return "woken"

    assert run_virtual(main()) == "woken"


def test_the_clock_says_so_outside_a_virtual_loop() -> None:
    async def main() -> None:
        VirtualClock().now_ms()

    with pytest.raises(RuntimeError, match="run_virtual"):
        asyncio.run(main())
