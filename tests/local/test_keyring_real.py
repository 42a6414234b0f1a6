"""The whole ladder against a real Secret Service: gnome-keyring on a private D-Bus, with a HOME of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("dbus-run-session", "gnome-keyring-daemon")
MISSING = [program for program in NEEDED if shutil.which(program) is None]
SESSION = Path(__file__).with_name("keyring_session.py")
KEY = "fake-key-0123456789"

pytestmark = [
    pytest.mark.keyring,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (packages dbus, gnome-keyring)"),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder with a short path: sockets below it may have 108 characters."""
    with tempfile.TemporaryDirectory(prefix="gk") as folder:
        (Path(folder) / "run").mkdir(mode=0o700)
        yield Path(folder)


def play(scenario: str, home: Path) -> dict[str, Any]:
    """Run one scenario to its end, which must come soon even when the keyring hangs, and return what it saw."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "GPUTUI_HOME": str(home / "gputui"),
    }
    started = time.monotonic()
    done = subprocess.run(
        ["dbus-run-session", "--", sys.executable, str(SESSION), scenario],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    seen["whole_s"] = time.monotonic() - started
    return seen


def test_an_unlocked_keyring_keeps_finds_and_forgets(home: Path) -> None:
    seen = play("unlocked", home)
    assert seen["usable"] is True
    assert seen["before"] is None
    assert seen["found"] == [KEY, "keyring"]
    assert seen["kept"] == [KEY]  # the older one is replaced, under the service and user name that are promised
    assert seen["other_profile"] is None
    assert len(seen["removed"]) == 1
    assert "work:huddle" in seen["removed"][0]
    assert seen["after"] is None
    assert seen["removed_again"] == []


def test_a_locked_keyring_is_passed_over_without_a_hang(home: Path) -> None:
    seen = play("locked", home)
    assert seen["state"] == "locked"
    assert seen["reason"].startswith("locked")
    assert seen["find"] is None
    assert "locked" in seen["store"]
    assert "locked" in seen["not_checked"][0]
    assert seen["source"] == "vault"


def test_a_stopped_daemon_is_unresponsive_within_the_deadline(home: Path) -> None:
    seen = play("stopped", home)
    assert seen["first"] is None
    assert seen["reason"].startswith("unresponsive")
    assert 1.5 < seen["first_s"] < 30


def test_a_call_that_hangs_in_the_library_keeps_neither_caller_nor_process(home: Path) -> None:
    seen = play("stopped_after_the_probe", home)
    assert seen["states"] == ["unresponsive", "unresponsive"]
    assert seen["seconds"] < 30
    assert seen["whole_s"] < 50


def test_a_service_without_a_keyring_opens_no_prompt_to_make_one(home: Path) -> None:
    seen = play("activated", home)
    assert seen["state"] in ("no-default-collection", "no-service")  # the second where D-Bus does not start it
    assert seen["imported"] is False
