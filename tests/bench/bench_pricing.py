"""`gputui pricing --gpu H100 --json` as a whole process, from a warm store of 20,000 offers."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measure import PYTHON, clean_environment, median_s, offers, process_s, report

from gputui.store.db import open_store
from gputui.store.offers import replace_snapshot

OFFERS = 20_000


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environ = clean_environment(Path(home))
        now_ms = time.time_ns() // 1_000_000
        store = open_store(Path(home) / "state" / "gputui.db")
        full = offers(OFFERS, now_ms=now_ms)
        report(
            f"replace a provider's {OFFERS:,} offers in one transaction",
            median_s(lambda: replace_snapshot(store, "huddle", full, now_ms=now_ms, latency_ms=1), runs=3),
        )
        replace_snapshot(store, "mock", offers(100, now_ms=now_ms, provider="mock"), now_ms=now_ms, latency_ms=1)
        store.close()
        argv = [PYTHON, "-m", "gputui", "pricing", "--gpu", "H100", "--json"]
        report(f"gputui pricing --gpu H100 --json, {OFFERS:,} offers", process_s(argv, environ), target_s=0.35)
        whole = [PYTHON, "-m", "gputui", "pricing", "--json"]
        report(f"gputui pricing --json, all GPUs, {OFFERS:,} offers", process_s(whole, environ))
