"""A refresh of six providers side by side, each of which takes 300 ms to answer, beside the slowest of them alone."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import report, report_ratio
from playback import Playback, client_of, recorded

from gputui.core.catalog import refresh
from gputui.local.clock import SystemClock
from gputui.providers.registry import PROVIDERS, ClientContext, make_client
from gputui.store.db import Store, open_store

DELAY_S = 0.3
RUNS = 5
# One answer holds the whole market, which is what makes Vast.ai the slowest to read.
KNOBS = {"vastai": {"cap_by_limit": True}}


class SlowMock:
    """The mock's client, which has no network to wait for, behind the same delay."""

    def __init__(self, folder: Path) -> None:
        self._client = make_client("mock", ClientContext(SystemClock(), folder))

    async def fetch_offers(self) -> list[Any]:
        await asyncio.sleep(DELAY_S)
        return await self._client.fetch_offers()

    async def aclose(self) -> None:
        await self._client.aclose()


class Clients:
    """Stands for the accounts: new clients, with nothing in memory."""

    def __init__(self, answers: dict[str, Any], folder: Path) -> None:
        self._clients: dict[str, Any] = {"mock": SlowMock(folder)}
        for name, told in answers.items():
            self._clients[name] = client_of(name, Playback(told, DELAY_S), folder, clock=SystemClock())

    def client(self, name: str) -> Any:
        return self._clients[name]

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        answers = {
            name: recorded(name, Path(home) / "recording", **KNOBS.get(name, {}))
            for name in PROVIDERS
            if name != "mock"
        }
        store = open_store(Path(home) / "gputui.db")

        def took_s(names: Sequence[str]) -> float:
            return asyncio.run(_refresh_s(store, answers, names))

        took_s(list(PROVIDERS))
        alone = {name: took_s([name]) for name in PROVIDERS}
        slowest = max(alone, key=lambda name: alone[name])
        # By turns, so that whatever else the machine does falls on both.
        pairs = [(took_s([slowest]), took_s(list(PROVIDERS))) for _ in range(RUNS)]
        store.close()
    slowest_s, together_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    report(f"the quickest of {len(alone)} providers alone", min(alone.values()))
    report(f"the slowest of them alone ({slowest})", slowest_s)
    report("all of them side by side", together_s)
    report_ratio("side by side over the slowest alone", together_s / slowest_s, target=1.15)


async def _refresh_s(store: Store, answers: dict[str, Any], names: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        clients: Any = Clients(answers, Path(folder))
        began = time.perf_counter()
        outcomes = await refresh(store, clients, SystemClock(), providers=names)
        took_s = time.perf_counter() - began
        await clients.aclose()
    assert all(outcome.error is None and outcome.offer_count for outcome in outcomes), outcomes
    return took_s
