from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gputui.local.keyring_store import KeyringState, KeyringStore, KeyringUnavailable
from gputui.local.paths import Paths
from gputui.local.secrets import Backend, KeyFound, KeySource, Secrets
from gputui.local.vault import WrongPassphrase
from gputui.model.errors import SecretsError, UsageError, VaultLocked
from gputui.model.keys import check_key_text, last_characters

KEY = "fake-key-0123456789"
PASSPHRASE = "fake passphrase"
USUAL = ("HUDDLE_API_KEY",)


class FakeKeyring(KeyringStore):
    """A keyring in memory, in any state."""

    def __init__(self, state: KeyringState = KeyringState.READY) -> None:
        super().__init__("default", {})
        self.answer = state
        self.kept: dict[str, str] = {}
        self.asked = 0

    def state(self) -> KeyringState:
        return self.answer

    def get(self, provider: str) -> str | None:
        self._check()
        return self.kept.get(provider)

    def put(self, provider: str, value: str) -> None:
        self._check()
        self.kept[provider] = value

    def remove(self, provider: str) -> bool:
        self._check()
        return self.kept.pop(provider, None) is not None

    def _check(self) -> None:
        self.asked += 1
        if self.answer is not KeyringState.READY:
            raise KeyringUnavailable(self.answer)


def found(secrets: Secrets, provider: str = "huddle") -> tuple[str, str, str]:
    key = secrets.find(provider, USUAL)
    assert key is not None
    return key.value, key.source.value, key.where


def test_the_ladder_from_the_bottom_up(paths: Paths, tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    keyring = FakeKeyring(KeyringState.NO_BUS)
    secrets = Secrets(paths, environ, keyring=keyring)
    assert secrets.find("huddle", USUAL) is None

    secrets.store("huddle", "fake-key-plain-1", Backend.PLAIN)
    assert found(secrets) == ("fake-key-plain-1", "plain", f"the plain-text file {paths.plain_file}")
    secrets.store("huddle", "fake-key-vault-1", Backend.VAULT, PASSPHRASE)
    assert found(secrets) == ("fake-key-vault-1", "vault", f"the encrypted vault {paths.vault_file}")
    keyring.answer = KeyringState.READY
    secrets.store("huddle", "fake-key-keyring", Backend.KEYRING)
    assert found(secrets) == ("fake-key-keyring", "keyring", keyring.where("huddle"))
    environ["HUDDLE_API_KEY"] = "fake-key-usual-1"
    assert found(secrets) == ("fake-key-usual-1", "environment", "HUDDLE_API_KEY")
    key_file = tmp_path / "key"
    key_file.write_text("fake-key-file-1\n")
    environ["GPUTUI_HUDDLE_API_KEY_FILE"] = str(key_file)
    assert found(secrets) == ("fake-key-file-1", "file", f"{key_file} (GPUTUI_HUDDLE_API_KEY_FILE)")
    environ["GPUTUI_HUDDLE_API_KEY"] = " fake-key-ours-1\n"
    assert found(secrets) == ("fake-key-ours-1", "environment", "GPUTUI_HUDDLE_API_KEY")

    assert secrets.find("runpod", ("RUNPOD_API_KEY",)) is None


def test_an_earlier_rung_leaves_the_later_ones_alone(paths: Paths) -> None:
    keyring = FakeKeyring()
    paths.data_dir.mkdir(parents=True)
    paths.vault_file.write_text("damaged")
    secrets = Secrets(paths, {"HUDDLE_API_KEY": KEY}, keyring=keyring)
    assert found(secrets)[0] == KEY
    assert keyring.asked == 0


def test_the_environment_serves_without_a_heavy_import(paths: Paths) -> None:
    code = (
        "import sys; from gputui.local.paths import paths_for; from gputui.local.secrets import Secrets;"
        "key = Secrets(paths_for()).find('huddle', ('HUDDLE_API_KEY',));"
        "print(key.source, [n for n in ('keyring', 'jeepney', 'cryptography', 'fcntl') if n in sys.modules])"
    )
    environ = {**os.environ, "HUDDLE_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "environment []"


def test_a_key_never_shows(paths: Paths) -> None:
    secrets = Secrets(paths, {"HUDDLE_API_KEY": KEY}, keyring=FakeKeyring())
    key = secrets.find("huddle", USUAL)
    assert key is not None
    shown = f"{key!r} {key} {secrets.status('huddle', USUAL)} {secrets!r}"
    assert KEY not in shown
    assert key.last_characters == "6789"
    assert KeyFound("fake-short", KeySource.PLAIN, "x").last_characters == ""


@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_variable_is_an_unset_one(paths: Paths, no_keyring: dict[str, str], value: str) -> None:
    environ = {**no_keyring, "GPUTUI_HUDDLE_API_KEY": value, "HUDDLE_API_KEY": KEY, "GPUTUI_HUDDLE_API_KEY_FILE": ""}
    assert found(Secrets(paths, environ))[0] == KEY


def test_a_provider_with_a_dash_has_variables_with_an_underscore(paths: Paths, no_keyring: dict[str, str]) -> None:
    assert found(Secrets(paths, {**no_keyring, "GPUTUI_SOME_CLOUD_API_KEY": KEY}), "some-cloud")[0] == KEY


def test_a_key_pasted_with_more_names_its_place_and_not_itself(paths: Paths) -> None:
    secrets = Secrets(paths, {"HUDDLE_API_KEY": "fake key-0123"}, keyring=FakeKeyring())
    with pytest.raises(SecretsError, match="HUDDLE_API_KEY") as caught:
        secrets.find("huddle", USUAL)
    assert "key-0123" not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "binary", "huge", "empty"])
def test_a_key_file_that_is_named_must_be_usable(paths: Paths, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "binary":
            path.write_bytes(b"\xff\xfe")
        case "huge":
            path.write_text("x" * 70_000)
        case "empty":
            path.write_text("\n")
    environ = {"GPUTUI_HUDDLE_API_KEY_FILE": str(path), "HUDDLE_API_KEY": KEY}
    secrets = Secrets(paths, environ, keyring=FakeKeyring())
    with pytest.raises(SecretsError, match="GPUTUI_HUDDLE_API_KEY_FILE"):
        secrets.find("huddle", USUAL)
    assert secrets.status("huddle", USUAL)[-1].problem is not None


@pytest.mark.parametrize("state", [state for state in KeyringState if state is not KeyringState.READY])
def test_a_keyring_that_does_not_serve_is_passed_over_and_explained(paths: Paths, state: KeyringState) -> None:
    secrets = Secrets(paths, {"GPUTUI_VAULT_PASSPHRASE": PASSPHRASE}, keyring=FakeKeyring(state))
    secrets.store("huddle", KEY, Backend.VAULT)
    assert found(secrets)[1] == "vault"
    (rung,) = [rung for rung in secrets.status("huddle") if rung.source is KeySource.KEYRING]
    assert rung.reason == state.sentence
    with pytest.raises(KeyringUnavailable):
        secrets.store("huddle", KEY, Backend.KEYRING)


def test_status_tells_every_rung_until_one_serves(paths: Paths, no_keyring: dict[str, str]) -> None:
    secrets = Secrets(paths, no_keyring)
    assert [(rung.source.value, rung.reason) for rung in secrets.status("huddle", USUAL)] == [
        ("environment", "not set"),
        ("file", "not set"),
        ("environment", "not set"),
        ("keyring", KeyringState.OFF.sentence),
        ("vault", "there is no vault"),
        ("plain", "holds no key of this provider"),
    ]
    secrets.store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    rungs = secrets.status("huddle", USUAL)
    assert [rung.served for rung in rungs] == [False, False, False, False, True]
    assert rungs[-1].reason == "served"


def test_a_locked_vault_is_told_only_where_it_matters(paths: Paths, no_keyring: dict[str, str]) -> None:
    Secrets(paths, no_keyring).store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    secrets = Secrets(paths, no_keyring)
    assert secrets.find("runpod") is None  # the vault is locked, but does not hold this one
    with pytest.raises(VaultLocked) as caught:
        secrets.find("huddle")
    assert "GPUTUI_VAULT_PASSPHRASE" in str(caught.value)
    assert isinstance(secrets.status("huddle")[-1].problem, VaultLocked)
    secrets.store("huddle", "fake-key-plain-1", Backend.PLAIN)
    with pytest.raises(VaultLocked):
        secrets.find("huddle")
    assert secrets.unlock(PASSPHRASE) == ("huddle",)
    assert found(secrets)[1] == "vault"


def test_the_passphrase_from_the_environment(paths: Paths, no_keyring: dict[str, str], tmp_path: Path) -> None:
    Secrets(paths, no_keyring).store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    assert found(Secrets(paths, {**no_keyring, "GPUTUI_VAULT_PASSPHRASE": PASSPHRASE}))[0] == KEY
    assert found(Secrets(paths, {**no_keyring, "GPUTUI_VAULT_PASSPHRASE_FILE": str(file)}))[0] == KEY
    assert Secrets(paths, {**no_keyring, "GPUTUI_VAULT_PASSPHRASE": PASSPHRASE}).unlock() == ("huddle",)

    wrong = Secrets(paths, {**no_keyring, "GPUTUI_VAULT_PASSPHRASE": "fake wrong"})
    with pytest.raises(WrongPassphrase, match="GPUTUI_VAULT_PASSPHRASE") as caught:
        wrong.find("huddle")
    assert "fake wrong" not in str(caught.value)
    assert not wrong.backend(Backend.VAULT, "huddle").usable
    missing = Secrets(paths, {**no_keyring, "GPUTUI_VAULT_PASSPHRASE_FILE": str(tmp_path / "none")})
    with pytest.raises(SecretsError, match="GPUTUI_VAULT_PASSPHRASE_FILE"):
        missing.find("huddle")


def test_unlocking(paths: Paths, no_keyring: dict[str, str]) -> None:
    secrets = Secrets(paths, no_keyring)
    for passphrase in (None, PASSPHRASE):
        with pytest.raises(SecretsError, match="no vault"):
            secrets.unlock(passphrase)
    assert secrets.needs_passphrase()
    with pytest.raises(VaultLocked, match="needs a passphrase"):
        secrets.store("huddle", KEY, Backend.VAULT)
    assert not secrets.vault_exists()
    secrets.store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    assert secrets.vault_exists()
    assert not secrets.needs_passphrase()
    fresh = Secrets(paths, no_keyring)
    assert fresh.needs_passphrase()
    with pytest.raises(VaultLocked):
        fresh.unlock()
    with pytest.raises(WrongPassphrase):
        fresh.unlock("fake wrong")
    with pytest.raises(WrongPassphrase):
        fresh.store("runpod", KEY, Backend.VAULT, "fake wrong")
    assert fresh.unlock(PASSPHRASE) == ("huddle",)


@pytest.mark.parametrize("backend", list(Backend))
def test_what_is_stored_is_found_and_deleted(paths: Paths, backend: Backend) -> None:
    secrets = Secrets(paths, {}, keyring=FakeKeyring())
    where = secrets.store("huddle", f" {KEY}\n", backend, PASSPHRASE)
    assert where == secrets.backend(backend, "huddle").where
    assert found(secrets) == (KEY, backend.value, where)
    with pytest.raises(UsageError):
        secrets.store("huddle", "two words", backend, PASSPHRASE)
    assert found(secrets)[0] == KEY
    assert secrets.delete("huddle").removed == (where,)
    assert secrets.find("huddle") is None
    assert secrets.delete("huddle").removed == ()


def test_delete_looks_everywhere_and_says_where_it_could_not(paths: Paths) -> None:
    keyring = FakeKeyring()
    secrets = Secrets(paths, {}, keyring=keyring)
    for backend in Backend:
        secrets.store("huddle", KEY, backend, PASSPHRASE)
    assert len(secrets.delete("huddle").removed) == 3
    keyring.answer = KeyringState.LOCKED
    assert "locked" in secrets.delete("huddle").not_checked[0]
    keyring.answer = KeyringState.NO_BUS
    assert secrets.delete("huddle").not_checked == ()


def test_delete_from_a_locked_vault_removes_nothing_before_it_is_open(paths: Paths) -> None:
    keyring = FakeKeyring()
    secrets = Secrets(paths, {}, keyring=keyring)
    for backend in Backend:
        secrets.store("huddle", KEY, backend, PASSPHRASE)
    fresh = Secrets(paths, {}, keyring=keyring)
    with pytest.raises(VaultLocked):
        fresh.delete("huddle")
    assert keyring.kept == {"huddle": KEY}
    assert paths.plain_file.exists()
    assert len(fresh.delete("huddle", PASSPHRASE).removed) == 3
    assert not paths.plain_file.exists()


def test_available_backends_say_where_and_why(paths: Paths) -> None:
    statuses = Secrets(paths, {}, keyring=FakeKeyring(KeyringState.LOCKED)).available_backends()
    assert [(status.name.value, status.usable) for status in statuses] == [
        ("keyring", False),
        ("vault", True),
        ("plain", True),
    ]
    assert statuses[0].reason == KeyringState.LOCKED.sentence
    assert str(paths.vault_file) in statuses[1].where
    assert "PLAIN TEXT" in statuses[2].reason
    assert not paths.data_dir.exists()


def test_asking_writes_nothing(paths: Paths, no_keyring: dict[str, str]) -> None:
    secrets = Secrets(paths, no_keyring)
    secrets.find("huddle", USUAL)
    secrets.status("huddle", USUAL)
    secrets.available_backends()
    secrets.delete("huddle")
    assert not paths.data_dir.exists()


def test_the_plain_file_is_private_or_not_used(paths: Paths, no_keyring: dict[str, str]) -> None:
    secrets = Secrets(paths, no_keyring)
    secrets.store("huddle", KEY, Backend.PLAIN)
    assert paths.plain_file.stat().st_mode & 0o777 == 0o600
    paths.plain_file.chmod(0o644)
    for attempt in (lambda: secrets.find("huddle"), lambda: secrets.store("huddle", KEY, Backend.PLAIN)):
        with pytest.raises(SecretsError, match="read by others") as caught:
            attempt()
        assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"huddle": 3}'])
def test_a_damaged_plain_file_is_told_without_its_content(
    paths: Paths, no_keyring: dict[str, str], content: str
) -> None:
    paths.ensure()
    paths.plain_file.write_text(content)
    paths.plain_file.chmod(0o600)
    with pytest.raises(SecretsError, match="damaged"):
        Secrets(paths, no_keyring).find("huddle")


def test_a_damaged_vault_stops_the_search(paths: Paths, no_keyring: dict[str, str]) -> None:
    paths.ensure()
    paths.vault_file.write_text("{")
    secrets = Secrets(paths, no_keyring)
    with pytest.raises(SecretsError, match="damaged"):
        secrets.find("huddle")
    status = secrets.backend(Backend.VAULT, "huddle")
    assert not status.usable
    assert "damaged" in status.reason


@pytest.mark.parametrize(("key", "shown"), [("", ""), ("fake-key", ""), ("fake-key-123", "-123")])
def test_how_much_of_a_key_is_shown(key: str, shown: str) -> None:
    assert last_characters(key) == shown


@pytest.mark.parametrize("key", ["", " ", "a b", "a\nb", "a\tb", "clé", "a\x00b", "a\u200bb", "a\x7f"])
def test_text_that_is_no_key(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_key_text("huddle", key)
    assert "gputui auth login huddle" in str(caught.value)
