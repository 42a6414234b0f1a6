from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from gputui.model.errors import RateLimited
from gputui.providers.http import HttpClient
from gputui.providers.pacing import Pace, Pacer
from gputui.sim.vtime import VirtualClock, run_virtual

LAUNCH = Pace("launch", every_s=12, operations=frozenset({"launch"}))
EVERYTHING = Pace("all", every_s=1, burst=5, reserve=2)


def pacer(folder: Path) -> Pacer:
    return Pacer(folder, "x", [EVERYTHING, LAUNCH], clock=VirtualClock(), urgent=frozenset({"delete"}))


def test_launches_are_spaced_across_processes(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        began_ms = clock.now_ms()
        times = []
        for _ in range(4):
            await pacer(tmp_path).wait_turn("launch", deadline_s=60)  # each a process of its own
            times.append((clock.now_ms() - began_ms) / 1000)
        assert times == pytest.approx([0, 12, 24, 36], abs=0.1)

    run_virtual(scene())


def test_the_reserve_is_for_what_is_urgent(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        shared = pacer(tmp_path)
        began_ms = clock.now_ms()
        for _ in range(3):
            await shared.wait_turn("list", deadline_s=0)
        with pytest.raises(RateLimited, match="used up"):
            await shared.wait_turn("list", deadline_s=0.5)
        for _ in range(2):
            await shared.wait_turn("delete", deadline_s=0)
        assert clock.now_ms() == began_ms
        await shared.wait_turn("delete", deadline_s=5)
        assert clock.now_ms() - began_ms == pytest.approx(1000, abs=20)

    run_virtual(scene())


def test_many_at_once_never_exceed_the_rate(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        began_ms = clock.now_ms()
        granted: list[float] = []

        async def ask() -> None:
            await pacer(tmp_path).wait_turn("delete", deadline_s=1000)
            granted.append((clock.now_ms() - began_ms) / 1000)

        await asyncio.gather(*(ask() for _ in range(30)))
        for start in range(25):
            inside = [at for at in granted if start <= at < start + 1]
            assert len(inside) <= 6
        assert max(granted) >= 24

    run_virtual(scene())


def test_everybody_waits_as_long_as_the_provider_says(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        began_ms = clock.now_ms()
        pacer(tmp_path).slow_down(30)
        await pacer(tmp_path).wait_turn("delete", deadline_s=60)
        assert clock.now_ms() - began_ms == pytest.approx(30_000, abs=20)

    run_virtual(scene())


def test_where_limits_are_per_operation_only_that_one_waits(tmp_path: Path) -> None:
    def apart() -> Pacer:
        return Pacer(tmp_path, "y", [], clock=VirtualClock(), limits_are_per_operation=True)

    async def scene() -> None:
        clock = VirtualClock()
        began_ms = clock.now_ms()
        apart().slow_down(30, "list")
        await apart().wait_turn("delete", deadline_s=0)
        assert clock.now_ms() == began_ms
        await apart().wait_turn("list", deadline_s=60)
        assert clock.now_ms() - began_ms == pytest.approx(30_000, abs=20)

    run_virtual(scene())


def test_a_clock_that_goes_back_blocks_nobody_for_hours(tmp_path: Path) -> None:
    class Moved:
        moved_ms = 0

        def now_ms(self) -> int:
            return VirtualClock().now_ms() + self.moved_ms

    async def scene() -> None:
        clock = Moved()
        limited = Pacer(tmp_path, "x", [Pace("all", every_s=1, burst=1)], clock=clock)
        await limited.wait_turn("delete", deadline_s=0)
        limited.slow_down(30)
        clock.moved_ms -= 5 * 3_600_000
        await limited.wait_turn("delete", deadline_s=2)
        limited.slow_down(30)
        with pytest.raises(RateLimited):
            await limited.wait_turn("delete", deadline_s=2)

    run_virtual(scene())


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"all_tokens": "many"}'])
def test_a_damaged_file_starts_afresh(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)

    async def scene() -> None:
        await pacer(tmp_path).wait_turn("list", deadline_s=0)

    run_virtual(scene())


def test_a_disk_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scene() -> None:
        alone = pacer(tmp_path / "file")
        await alone.wait_turn("launch", deadline_s=0)
        with pytest.raises(RateLimited):
            await alone.wait_turn("launch", deadline_s=1)

    run_virtual(scene())


def test_a_client_keeps_to_the_pace_and_passes_on_what_the_provider_says(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = VirtualClock()
        began_ms = clock.now_ms()
        asked: list[float] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append((clock.now_ms() - began_ms) / 1000)
            if len(asked) == 2:
                return httpx.Response(429, json={"error": "slow down"}, headers={"Retry-After": "10"})
            return httpx.Response(200, json={})

        def client() -> HttpClient:
            transport = httpx.MockTransport(answer)
            return HttpClient("x", "https://x", clock=clock, headers={}, transport=transport, pacer=pacer(tmp_path))

        await client().get("a", operation="list")
        await client().get("a", operation="list")
        await client().get("a", operation="delete")
        assert asked == pytest.approx([0, 0, 10, 10], abs=0.1)

    run_virtual(scene())
