"""A home folder and a clean environment for every test; the agent that a test started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gputui.local.daemon import lock_holder
from gputui.local.paths import paths_for


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("GPUTUI_") or name.endswith(("_API_KEY", "_API_KEY_FILE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GPUTUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    yield tmp_path / "home"
    lock = paths_for().agent_lock
    deadline = time.monotonic() + 60
    while (pid := lock_holder(lock)) and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert not lock_holder(lock)
