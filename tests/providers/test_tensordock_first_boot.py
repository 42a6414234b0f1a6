"""What a TensorDock machine does on its first boot: the commands run here, with harmless programs in place of real ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gputui.providers.tensordock import first_boot

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh it's $(mine)"
LINE = PUBLIC_KEY.rpartition(" it's")[0]
LOG = 'echo "${0##*/} $*" >>"$LOG"'


class Box:
    """A folder that stands for a machine: only the programs put into it exist."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self._log = root / "log"
        self._bin = root / "bin"
        self._bin.mkdir()
        for tool in ("cut", "grep", "chmod", "mkdir"):
            found = shutil.which(tool)
            assert found
            (self._bin / tool).symlink_to(found)
        self.program("getent", f"echo user:x:1000:1000::{self.home}:/bin/bash")
        self.program("install", 'for last; do :; done; mkdir -p "$last"')
        self.program("chown", LOG)

    def program(self, name: str, script: str = LOG) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def boot(self, *, needs_docker: bool) -> list[str]:
        """Run the commands and return the calls that were logged; each command must succeed."""
        self._log.write_text("")
        for command in first_boot.commands(PUBLIC_KEY, needs_docker=needs_docker):
            environment = {"PATH": str(self._bin), "LOG": str(self._log)}
            done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
        return self._log.read_text().splitlines()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_the_key_is_let_in_once_and_others_stay(box: Box) -> None:
    keys = box.home / ".ssh" / "authorized_keys"
    box.boot(needs_docker=False)
    assert keys.read_text() == f"{LINE}\n"
    keys.write_text(f"ssh-rsa other\n{PUBLIC_KEY}\n")
    assert box.boot(needs_docker=False) == [f"chown user:user {keys}"]
    assert keys.read_text() == f"ssh-rsa other\n{PUBLIC_KEY}\n"
    assert keys.stat().st_mode & 0o777 == 0o600


def test_a_machine_without_that_user_still_boots(box: Box) -> None:
    box.program("getent", "exit 2")
    box.boot(needs_docker=False)
    assert list(box.home.iterdir()) == []


def test_what_is_there_is_left_alone(box: Box) -> None:
    for name in ("docker", "nvidia-ctk", "apt-get", "usermod", "systemctl", "curl"):
        box.program(name)
    assert [call for call in box.boot(needs_docker=True) if "chown" not in call] == [
        "usermod -aG docker user",
        "systemctl enable --now docker",
    ]


def test_what_is_missing_is_installed(box: Box) -> None:
    for name in ("apt-get", "usermod", "systemctl", "curl", "gpg", "sed"):
        box.program(name)
    calls = box.boot(needs_docker=True)
    installed = [call.rpartition(" install ")[2] for call in calls if " install " in call]
    assert installed == ["docker.io", "nvidia-container-toolkit"]
    stopped = calls.index("systemctl stop docker.socket docker")
    assert stopped < calls.index("systemctl start docker")


def test_nothing_to_install_with_fails_no_boot(box: Box) -> None:
    box.boot(needs_docker=True)


def test_each_command_is_one_line_that_careless_yaml_takes_for_text() -> None:
    for command in first_boot.commands(PUBLIC_KEY, needs_docker=True):
        assert "\n" not in command
        assert ": " not in command
        assert " #" not in command
