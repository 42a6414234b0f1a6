from __future__ import annotations

import gc
import itertools
import os
import signal

import pytest

# The first takes a minute of computing; the others wait most of their time, for processes and servers that are real.
_LONG = (("test_monkey",), ("test_end_to_end",), ("core/runner", "local_ssh", "test_terminal", "test_own_end_for_real"))


def pytest_configure() -> None:
    """Let started processes be interrupted, also where the shell ran us in the background: it lets them ignore that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have three workers begin with what takes long: at the end, one would be at it while the others have nothing left."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    others = []
    for item in items:
        place = next((place for place, words in enumerate(_LONG) if any(word in item.nodeid for word in words)), None)
        (others if place is None else shares[place % workers]).append(item)
    # Each worker is given as many as any other, in a row.
    for share in shares:
        share += (others.pop(0) for _ in range(min(len(others), len(items) // workers - len(share))))
    items[:] = [*itertools.chain(*shares), *others]


def pytest_collection_finish() -> None:
    """Look for garbage less often, and never among what lives as long as the session: it was a sixth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def _no_disk_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of heartbeats in a second would spend it all on flushing the disk."""
    monkeypatch.setattr("gputui.store.db.SYNCHRONOUS", "OFF")
