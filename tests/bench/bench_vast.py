"""10,000 offers of Vast.ai, in two answers of half of them each, read by the client and stored in one transaction.

Each run is a process of its own, so that its peak of memory is that of this work over what a loaded client has anyway.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
from measure import PYTHON, report, report_ratio
from playback import client_of, recorded

from gputui.local.clock import SystemClock
from gputui.store.db import open_store
from gputui.store.offers import load_statuses, replace_snapshot

OFFERS = 10_000
RUNS = 5
_PIECE = 64 * 1024


class Market(httpx.AsyncBaseTransport):
    """Answers each search with the next file, piece by piece as a network does, and knows of no further models."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"gpu_names": []})
        return httpx.Response(200, content=_pieces(self._files.pop(0)))


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as handle:
        while piece := handle.read(_PIECE):
            yield piece


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        files = _answers(Path(home))
        runs = [_run([*files, Path(home) / f"run-{number}"]) for number in range(RUNS)]
    size_mb = sum(run[0] for run in runs) / RUNS
    report(
        f"{OFFERS:,} offers ({size_mb:.0f} MB) read and stored", statistics.median(run[1] for run in runs), target_s=1
    )
    report_ratio("peak of memory over a loaded client, MB", statistics.median(run[2] for run in runs), target=120)


def _answers(folder: Path) -> list[Path]:
    """Write two answers: the simulator's market, over and over under new ids."""
    told = recorded("vastai", folder / "recording", offers=3000, cap_by_limit=True)
    market = max((json.loads(body).get("offers", []) for body in told.values()), key=len)
    rows = [{**market[number % len(market)], "id": number + 1} for number in range(OFFERS)]
    halves = rows[: OFFERS // 2], rows[OFFERS // 2 :]
    files = [folder / f"answer-{number}.json" for number in range(len(halves))]
    for file, half in zip(files, halves, strict=True):
        file.write_text(json.dumps({"offers": half}))
    return files


def _run(paths: Sequence[Path]) -> list[float]:
    done = subprocess.run([PYTHON, __file__, *paths], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measured(files: Sequence[Path], home: Path) -> None:
    """Print megabytes read, seconds taken, and megabytes by which the peak of memory grew."""
    home.mkdir()
    store = open_store(home / "gputui.db")
    client = client_of("vastai", Market(files), home, clock=SystemClock())
    before_mb = _peak_mb()
    began = time.perf_counter()
    offers = asyncio.run(client.fetch_offers())
    replace_snapshot(store, "vastai", offers, now_ms=1, latency_ms=1)
    took_s = time.perf_counter() - began
    grown_mb = _peak_mb() - before_mb
    assert load_statuses(store)["vastai"].offer_count == OFFERS
    print(sum(file.stat().st_size for file in files) / 1e6, took_s, grown_mb)


def _peak_mb() -> float:
    """Return the most memory that this process ever had. (`ru_maxrss` would begin with that of its parent.)"""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    *answers, folder = map(Path, sys.argv[1:])
    measured(answers, folder)
