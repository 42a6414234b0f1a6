from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gputui.local.paths import Paths, paths_for
from gputui.model.errors import StoreReadOnly, UsageError


def test_home_puts_everything_below_one_folder(paths: Paths, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert paths.profile == "default"
    assert paths.config_file == home / "config" / "config.toml"
    assert paths.themes_dir == home / "config" / "themes"
    assert paths.database == home / "state" / "gputui.db"
    assert paths.logs_dir == home / "state" / "logs"
    assert paths.agent_lock == home / "state" / "agent.lock"
    assert paths.agent_log == home / "state" / "agent.log"
    assert paths.ssh_dir == home / "data" / "ssh"
    assert paths.vault_file == home / "data" / "secrets.vault"
    assert paths.plain_file == home / "data" / "secrets.insecure.json"


def test_another_profile_shares_no_folder_with_the_default(paths: Paths) -> None:
    other = paths_for("work")
    for name in ("config_dir", "state_dir", "data_dir"):
        assert getattr(other, name) == getattr(paths, name) / "profiles" / "work"


def test_profile_comes_from_argument_then_variable_then_default(monkeypatch: pytest.MonkeyPatch, paths: Paths) -> None:
    monkeypatch.setenv("GPUTUI_PROFILE", "from-env")
    assert paths_for("given").profile == "given"
    assert paths_for().profile == "from-env"
    monkeypatch.setenv("GPUTUI_PROFILE", "")
    assert paths_for().profile == "default"


@pytest.mark.parametrize("name", ["", "Work", "a_b", "-a", "a" * 26, "a/b", "..", "a\n", "é", "a b"])
def test_a_name_that_cannot_be_in_a_hostname_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        paths_for(name)
    assert caught.value.field == "profile"


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 25])
def test_good_names_pass(name: str) -> None:
    assert paths_for(name).profile == name


def test_without_home_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPUTUI_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable, folder in (("XDG_CONFIG_HOME", "c"), ("XDG_STATE_HOME", "s"), ("XDG_DATA_HOME", "d")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    paths = paths_for()
    if sys.platform == "linux":
        assert paths.config_dir == tmp_path / "c" / "gputui"
        assert paths.state_dir == tmp_path / "s" / "gputui"
        assert paths.data_dir == tmp_path / "d" / "gputui"
    assert len({paths.config_file, paths.database, paths.vault_file}) == 3


def test_a_relative_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUTUI_HOME", "here")
    assert paths_for().state_dir == tmp_path / "here" / "state"


def test_ensure_makes_private_folders_and_can_be_repeated(paths: Paths) -> None:
    profile = paths_for("work")
    old_umask = os.umask(0)
    try:
        profile.ensure()
        profile.ensure()
    finally:
        os.umask(old_umask)
    for folder in (profile.config_dir, profile.state_dir, profile.logs_dir, profile.data_dir, profile.ssh_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_ensure_says_what_is_in_the_way(paths: Paths) -> None:
    paths.state_dir.parent.mkdir(parents=True)
    paths.state_dir.write_text("a file")
    with pytest.raises(StoreReadOnly, match=str(paths.state_dir)):
        paths.ensure()


def test_ensure_explains_a_folder_that_cannot_be_written(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.ensure()
    real_access = os.access
    # Permission bits mean nothing to root, who may be running this: the question itself is answered instead.
    monkeypatch.setattr(os, "access", lambda path, mode: path != paths.data_dir and real_access(path, mode))
    with pytest.raises(StoreReadOnly, match="cannot be written") as caught:
        paths.ensure()
    assert "GPUTUI_HOME" in str(caught.value)


def test_ensure_explains_a_parent_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUTUI_HOME", "/proc/gputui-test")  # no folder can ever be made there
    with pytest.raises(StoreReadOnly, match="/proc/gputui-test"):
        paths_for().ensure()


def test_paths_need_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys; from gputui.local.paths import paths_for; paths_for();"
        "import gputui.local.config, gputui.local.secrets;"
        "print([n for n in ('platformdirs', 'keyring', 'jeepney', 'cryptography', 'tomllib', 'httpx', 'asyncio', 'logging')"
        " if n in sys.modules])"
    )
    environ = {"GPUTUI_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
