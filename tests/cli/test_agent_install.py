"""agent install: a systemd user unit without a key, and what can be done where there is no systemd."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KEY = "sim-very-secret-0123456789"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for systemctl and loginctl that note what they were asked; returns where."""
    programs, asked = tmp_path / "bin", tmp_path / "asked"
    programs.mkdir()
    for name, answer in (("systemctl", "Version=252"), ("loginctl", "no")):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{asked}\necho {answer}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("USER", "ada")
    return asked


def exec_start(unit: str) -> list[str]:
    [line] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def test_the_unit_starts_this_gputui_with_its_profile_and_holds_no_key(
    cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", KEY)
    monkeypatch.setenv("GPUTUI_VAULT_PASSPHRASE", KEY)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("GPUTUI_LAMBDA_API_KEY_FILE", "/run/keys/100% mine")
    unit = cli("--profile", "work", "agent", "install", "--print").out
    assert exec_start(unit) == [sys.executable, "-m", "gputui", "--profile", "work", "agent", "run"]
    assert KEY not in unit
    assert f"Environment=GPUTUI_HOME={home}\n" in unit
    assert 'Environment="GPUTUI_LAMBDA_API_KEY_FILE=/run/keys/100%% mine"\n' in unit
    for line in ("Restart=on-failure", "NoNewPrivileges=yes", "WantedBy=default.target"):
        assert f"{line}\n" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = tmp_path / "gputui-agent-default.service"
    unit.write_text(cli("agent", "install", "--print").out)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_installing_writes_the_unit_and_says_what_works_without_a_login(
    cli: Any, systemd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", KEY)
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    monkeypatch.setenv("GPUTUI_LAMBDA_API_KEY_FILE", str(key_file))
    said = cli("agent", "install", "--json")
    path = Path(said.data["unit"])
    assert path == tmp_path / "config/systemd/user/gputui-agent-default.service"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "ExecStart=" in path.read_text()
    assert [row["at_boot"] for row in said.data["keys"] if row["provider"] == "huddle"] == [False]
    assert [row["at_boot"] for row in said.data["keys"] if row["provider"] == "lambda"] == [True]
    assert "loginctl enable-linger ada" in said.err
    assert KEY not in said.out + said.err + path.read_text()
    assert "systemctl --user enable --now gputui-agent-default.service" in systemd.read_text()
    assert cli("agent", "uninstall", "--json").data == {"was_installed": True}
    assert not path.exists()
    assert "systemctl --user disable --now gputui-agent-default.service" in systemd.read_text()
    assert cli("agent", "uninstall", "--json").data == {"was_installed": False}


def test_without_systemd_the_crontab_line_is_told(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    said = cli("agent", "install", "--json")
    assert (said.code, said.error["code"]) == (1, "agent")
    assert "There is no systemd here" in said.error["error"]
    assert f"@reboot env GPUTUI_HOME={os.environ['GPUTUI_HOME']}" in said.error["error"]
    assert f"{sys.executable} -m gputui --profile default agent run" in said.error["error"]
    assert not (tmp_path / "config").exists()
