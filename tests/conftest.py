from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_disk_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours of heartbeats in a second would spend it all on flushing the disk."""
    monkeypatch.setattr("gputui.store.db.SYNCHRONOUS", "OFF")
