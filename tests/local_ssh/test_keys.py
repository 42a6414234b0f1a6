"""Our key pair, fingerprints, and the command for an interactive terminal."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from pathlib import Path

import pytest

from gputui.local.ssh import ensure_key_pair, fingerprint, ssh_argv, write_known_hosts
from gputui.model.errors import SecretsError


def _make(folder: Path) -> str:
    return ensure_key_pair(folder, "gputui-test").public_key


def test_key_pair_is_made_once_and_private(tmp_path: Path) -> None:
    first = ensure_key_pair(tmp_path / "ssh", "gputui-default")
    second = ensure_key_pair(tmp_path / "ssh", "gputui-default")
    assert first == second
    assert first.public_key.startswith("ssh-ed25519 ")
    assert first.public_key.endswith(" gputui-default")
    assert first.private_path.stat().st_mode & 0o777 == 0o600
    assert first.private_path.parent.stat().st_mode & 0o777 == 0o700


def test_processes_at_once_get_the_same_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_make, [tmp_path / "ssh"] * 8))) == 1


def test_unreadable_key_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_text("not a key\n")
    with pytest.raises(SecretsError, match="id_ed25519 is not a private key"):
        ensure_key_pair(tmp_path, "c")
    assert (tmp_path / "id_ed25519").read_text() == "not a key\n"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")
def test_openssh_agrees_on_key_and_fingerprint(tmp_path: Path) -> None:
    pair = ensure_key_pair(tmp_path, "gputui-test")
    derived = subprocess.run(["ssh-keygen", "-y", "-f", pair.private_path], capture_output=True, text=True, check=True)
    assert derived.stdout.split()[:2] == pair.public_key.split()[:2]
    (tmp_path / "k.pub").write_text(pair.public_key)
    listed = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "k.pub"], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[1] == fingerprint(pair.public_key)


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 not-base-64!"])
def test_fingerprint_of_no_key_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not an OpenSSH public key"):
        fingerprint(text)


def test_known_hosts_names_the_port_when_it_is_unusual(tmp_path: Path) -> None:
    path = tmp_path / "hosts" / "m1"
    write_known_hosts(path, "203.0.113.7", 22, "ssh-ed25519 AAAA comment")
    assert path.read_text() == "203.0.113.7 ssh-ed25519 AAAA\n"
    write_known_hosts(path, "203.0.113.7", 2222, "ssh-ed25519 AAAA")
    assert path.read_text() == "[203.0.113.7]:2222 ssh-ed25519 AAAA\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_terminal_command_trusts_only_what_is_pinned() -> None:
    argv = ssh_argv("203.0.113.7", 2222, "ubuntu", Path("/home/a b/100%/id"), Path("/state/hosts"))
    assert argv[:3] == ["ssh", "-F", "none"]
    assert argv[-6:] == ["-p", "2222", "-l", "ubuntu", "--", "203.0.113.7"]
    for setting in (
        'IdentityFile="/home/a b/100%%/id"',
        "IdentitiesOnly=yes",
        'UserKnownHostsFile="/state/hosts"',
        "StrictHostKeyChecking=yes",
        "ForwardAgent=no",
    ):
        assert argv[argv.index(setting) - 1] == "-o"
