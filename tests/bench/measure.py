"""The few things every benchmark needs: medians, whole processes, a store full of offers, and one way to print."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gputui.model.gpus import MODELS
from gputui.model.types import Offer, Stock

REGIONS = ("us-east", "us-west", "eu-north", "eu-west", "asia-east")


def median_s(action: Callable[[], object], *, runs: int = 7) -> float:
    """Return the median wall time of an action in seconds, after one run that does not count."""
    action()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def process_s(argv: Sequence[str], environ: dict[str, str] | None = None, *, runs: int = 9) -> float:
    """Return the median wall time of a whole process in seconds."""

    def run() -> None:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)

    return median_s(run, runs=runs)


def report(what: str, value_s: float, *, target_s: float | None = None) -> None:
    """Print one figure in milliseconds beside its target."""
    line = f"  {what:<58} {value_s * 1000:8.1f} ms"
    if target_s is not None:
        line += f"   target {target_s * 1000:6.0f} ms   {value_s / target_s:5.2f} x"
    print(line)


def report_ratio(what: str, value: float, *, target: float) -> None:
    """Print a ratio, or a figure of another unit named in `what`, beside its target."""
    print(f"  {what:<58} {value:8.2f}      target {target:6.2f}      {value / target:5.2f} x")


def report_amount(what: str, value: float, unit: str, *, target: float) -> None:
    """Print one figure of another kind beside its target."""
    print(f"  {what:<58} {value:8,.0f} {unit:<2}   target {target:6,.0f} {unit:<2}   {value / target:5.2f} x")


def offers(count: int, *, now_ms: int, provider: str = "huddle") -> list[Offer]:
    """Return `count` offers spread over models, regions, sizes and prices; the same ones every time."""
    made = []
    for number in range(count):
        model = MODELS[number % len(MODELS)]
        gpu_count = (1, 1, 1, 2, 4, 8)[number % 6]
        made.append(
            Offer(
                id=f"{provider}:bench-{number}",
                provider=provider,
                gpu=model.name,
                gpu_count=gpu_count,
                price_micro_usd_per_hour=(200_000 + number * 7919 % 4_000_000) * gpu_count,
                fetched_at_ms=now_ms,
                vram_gib=model.vram_gib,
                vcpus=16,
                ram_gib=128,
                region=REGIONS[number % len(REGIONS)],
                stock=(Stock.HIGH, Stock.LOW, Stock.NONE, None)[number % 4],
                reliability=0.9 + number % 100 / 1000,
                native={"number": number},
            )
        )
    return made


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment with a profile of its own and no keys."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("GPUTUI_") and "API_KEY" not in name
    }
    return {**kept, "GPUTUI_HOME": str(home), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


PYTHON = sys.executable
