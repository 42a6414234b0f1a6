from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gputui.local import private_file
from gputui.local.private_file import PrivateFile
from gputui.local.vault import Vault, WrongPassphrase
from gputui.model.errors import SecretsError, VaultLocked

PASSPHRASE = "fake passphrase"
KEY = "fake-key-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secrets.vault"


@pytest.fixture
def vault(path: Path) -> Vault:
    vault = Vault(path)
    vault.create(PASSPHRASE)
    vault.put("huddle", KEY)
    return vault


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_key_survives_the_process(vault: Vault, path: Path) -> None:
    other = Vault(path)
    other.unlock(PASSPHRASE)
    assert other.get("huddle") == KEY
    assert other.get("runpod") is None


def test_the_key_derivation_is_costly(path: Path, real_vaults: None) -> None:
    Vault(path).create(PASSPHRASE)
    header = document(path)["hdr"]
    assert (header["kdf"], header["t"], header["m"], header["p"]) == ("argon2id", 3, 65536, 4)
    other = Vault(path)
    other.unlock(PASSPHRASE)
    other.put("huddle", KEY)
    assert other.get("huddle") == KEY


def test_before_there_is_a_vault(path: Path) -> None:
    vault = Vault(path)
    assert not vault.exists()
    assert vault.holds() == ()
    assert vault.get("huddle") is None
    assert not vault.remove("huddle")
    assert not vault.is_unlocked()
    with pytest.raises(SecretsError, match="no vault"):
        vault.unlock(PASSPHRASE)
    with pytest.raises(VaultLocked):
        vault.put("huddle", KEY)
    with pytest.raises(SecretsError, match="not empty"):
        vault.create("")
    assert not vault.exists()


def test_file_and_lock_are_private_and_hold_no_plain_text(vault: Vault, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert KEY.encode() not in file.read_bytes()
        assert PASSPHRASE.encode() not in file.read_bytes()


def test_a_locked_vault_tells_what_it_holds_but_not_the_key(vault: Vault, path: Path) -> None:
    locked = Vault(path)
    assert locked.holds() == ("huddle",)
    assert not locked.is_unlocked()
    assert locked.get("runpod") is None
    for attempt in (lambda: locked.get("huddle"), lambda: locked.put("a", "b"), lambda: locked.remove("huddle")):
        with pytest.raises(VaultLocked) as caught:
            attempt()
        assert caught.value.code == "vault_locked"


def test_a_wrong_passphrase_is_told_and_changes_nothing(vault: Vault, path: Path) -> None:
    before = path.read_bytes()
    other = Vault(path)
    with pytest.raises(WrongPassphrase) as caught:
        other.unlock("fake wrong")
    assert "fake wrong" not in str(caught.value)
    assert not other.is_unlocked()
    with pytest.raises(WrongPassphrase):
        other.create("fake wrong")
    assert path.read_bytes() == before
    assert vault.get("huddle") == KEY


def test_a_letter_typed_in_two_ways_is_one_passphrase(path: Path) -> None:
    Vault(path).create("fake caf\u00e9")
    Vault(path).unlock("fake cafe\u0301")


def test_remove_forgets_the_key_only(vault: Vault) -> None:
    vault.put("runpod", "fake-other-key")
    assert vault.remove("huddle")
    assert not vault.remove("huddle")
    assert vault.get("huddle") is None
    assert vault.get("runpod") == "fake-other-key"
    assert vault.holds() == ("runpod",)


def test_each_write_has_a_fresh_nonce(vault: Vault, path: Path) -> None:
    nonces = {document(path)["nonce"]}
    for _ in range(5):
        vault.put("huddle", KEY)
        nonces.add(document(path)["nonce"])
    assert len(nonces) == 6


def test_a_vault_made_anew_locks_out_who_knew_the_old_one(vault: Vault, path: Path) -> None:
    path.unlink()
    newer = Vault(path)
    newer.create("fake second passphrase")
    newer.put("huddle", "fake-new-key")
    assert not vault.is_unlocked()
    with pytest.raises(VaultLocked):
        vault.get("huddle")


@pytest.mark.parametrize("part", ["ct", "nonce", "salt", "holds", "t"])
def test_a_tampered_file_is_refused(vault: Vault, path: Path, part: str) -> None:
    content = document(path)
    header = content["hdr"]
    if part == "holds":
        header["holds"] = ["huddle", "runpod"]
    elif part == "t":
        header["t"] = 4
    else:
        place = header if part == "salt" else content
        raw = bytearray(base64.b64decode(place[part]))
        raw[-1] ^= 1
        place[part] = base64.b64encode(raw).decode()
    path.write_text(json.dumps(content))
    with pytest.raises(WrongPassphrase, match="altered"):
        Vault(path).unlock(PASSPHRASE)
    with pytest.raises(VaultLocked):
        vault.put("runpod", "fake-other-key")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "{",
        lambda content: "[]",
        lambda content: "",
        lambda content: json.dumps({**content, "nonce": "AAAA"}),
        lambda content: json.dumps({**content, "ct": 3}),
        lambda content: json.dumps({**content, "hdr": {**content["hdr"], "m": 2**40}}),
        lambda content: json.dumps({**content, "hdr": {**content["hdr"], "t": 10**9}}),
        lambda content: json.dumps({**content, "hdr": {**content["hdr"], "p": 0}}),
        lambda content: json.dumps({**content, "hdr": {**content["hdr"], "kdf": "md5"}}),
        lambda content: json.dumps({**content, "hdr": {**content["hdr"], "holds": 7}}),
        lambda content: json.dumps({name: part for name, part in content.items() if name != "hdr"}),
    ],
)
def test_a_damaged_file_is_told_apart_from_a_wrong_passphrase(vault: Vault, path: Path, change: Any) -> None:
    path.write_text(change(document(path)))
    attempts: list[Callable[[], object]] = [
        lambda: Vault(path).unlock(PASSPHRASE),
        lambda: vault.get("huddle"),
        lambda: vault.put("a", "b"),
    ]
    for attempt in attempts:
        with pytest.raises(SecretsError, match="damaged") as caught:
            attempt()
        assert not isinstance(caught.value, VaultLocked)


def test_a_later_version_is_not_touched(vault: Vault, path: Path) -> None:
    content = document(path)
    content["hdr"] = {"v": 2, "something": "else"}
    path.write_text(json.dumps(content))
    with pytest.raises(SecretsError, match="newer version"):
        vault.put("huddle", KEY)
    assert document(path)["hdr"]["v"] == 2


def test_a_huge_or_unreadable_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b" " * (private_file.MAX_BYTES + 1))
    with pytest.raises(SecretsError, match="too large"):
        Vault(path).holds()
    path.unlink()
    path.mkdir()
    with pytest.raises(SecretsError, match="cannot be read"):
        Vault(path).holds()


def test_the_old_content_survives_a_crash_in_the_middle_of_a_write(
    vault: Vault, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        vault.put("huddle", "fake-new-key")
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tmp"))
    vault.put("huddle", "fake-new-key")
    assert vault.get("huddle") == "fake-new-key"


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from gputui.local.vault import Vault
vault = Vault(Path(sys.argv[1]))
vault.unlock(sys.argv[2])
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
vault.put("huddle", "fake-half-written")
"""


def test_a_writer_killed_before_the_replace_leaves_the_old_vault_usable(vault: Vault, path: Path) -> None:
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path), PASSPHRASE], timeout=30, check=False)
    assert done.returncode == -9
    assert path.read_bytes() == before
    assert len(list(path.parent.glob(".secrets.vault.*.tmp"))) == 1
    vault.put("runpod", "fake-other-key")  # the dead writer's lock is free, its left-over goes
    assert vault.get("huddle") == KEY
    assert not list(path.parent.glob(".secrets.vault.*.tmp"))


WRITER = """
import sys
from collections.abc import Callable
from pathlib import Path
from gputui.local.vault import Vault
vault = Vault(Path(sys.argv[1]))
vault.create(sys.argv[2])
for number in range(int(sys.argv[4])):
    vault.put(f"{sys.argv[3]}-{number}", f"fake-{sys.argv[3]}-{number}")
"""


def test_writers_in_several_processes_lose_nothing(path: Path) -> None:
    names, count = ["a", "b", "c", "d"], 15
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), PASSPHRASE, name, str(count)]) for name in names
    ]
    assert [writer.wait(60) for writer in writers] == [0] * len(names)
    vault = Vault(path)
    vault.unlock(PASSPHRASE)
    expected = {f"{name}-{number}" for name in names for number in range(count)}
    assert set(vault.holds()) == expected
    assert all(vault.get(name) == f"fake-{name}" for name in expected)


def test_a_lock_that_is_never_freed_ends_in_an_error(path: Path) -> None:
    file = PrivateFile(path)
    with (
        file.locked(),
        pytest.raises(SecretsError, match=r"held .* for 0\.1 s"),
        PrivateFile(path).locked(timeout_s=0.1),
    ):
        pytest.fail("two writers at once")
    with PrivateFile(path).locked(timeout_s=0.1):
        file.replace(b"free again")
    assert file.read() == b"free again"


def test_a_folder_that_cannot_be_written_is_told() -> None:
    with pytest.raises(SecretsError, match="cannot be written"):
        Vault(Path("/proc/gputui-test/secrets.vault")).create(PASSPHRASE)
