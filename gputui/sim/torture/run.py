"""Play many seeds, side by side in several processes when asked to."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Iterable, Iterator
from functools import partial

from gputui.sim.torture.plan import make_plan
from gputui.sim.torture.play import Outcome, play


def play_seed(seed: int, provider: str | None = None, *, keep_timeline: bool = False) -> Outcome:
    """Play one seed; what the simulation itself stumbles over is a violation too."""
    try:
        return play(make_plan(seed, provider), keep_timeline=keep_timeline)
    except Exception:  # noqa: BLE001  one seed that breaks must not end the night's run
        return Outcome(seed, [f"the simulation broke:\n{traceback.format_exc()}"])


def play_seeds(seeds: Iterable[int], provider: str | None, workers: int, *, keep_timeline: bool) -> Iterator[Outcome]:
    run = partial(play_seed, provider=provider, keep_timeline=keep_timeline)
    if workers == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run, seeds, chunksize=8)
