"""Folders of their own for every test, and no keyring unless a test asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputui.local import vault
from gputui.local.paths import Paths, paths_for

OFF = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


@pytest.fixture(autouse=True)
def quick_vaults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new vaults with a cheap key derivation, except where a test is marked by asking for `real_vaults`."""
    if "real_vaults" not in request.fixturenames:
        monkeypatch.setattr(vault, "_PASSES", 1)
        monkeypatch.setattr(vault, "_MEMORY_KIB", 64)


@pytest.fixture
def real_vaults() -> None:
    """Leave the key derivation as it is."""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """The default profile below a temporary folder; the process's environment says so too."""
    monkeypatch.setenv("GPUTUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GPUTUI_PROFILE", raising=False)
    return paths_for()


@pytest.fixture
def no_keyring() -> dict[str, str]:
    """An environment in which the OS keyring is switched off."""
    return dict(OFF)
