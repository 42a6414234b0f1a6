"""The pictures of the documentation are the same in every run."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from gputui.local.ssh import ensure_key_pair

FOLDER = Path(__file__).parents[2] / "screenshots"


def test_the_key_that_the_pictures_show_is_always_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    make = importlib.import_module("make")
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        make.put_fake_key(tmp_path / name)
    keys = {ensure_key_pair(tmp_path / name, comment="c").public_key for name in ("one", "another")}
    assert len(keys) == 1
