"""`gputui auth` with a desk of our own: real secrets below a temporary folder, an invented provider client."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gputui.cli import auth as auth_module
from gputui.cli.output import require_yes
from gputui.local.keyring_store import KeyringState, KeyringStore
from gputui.local.paths import Paths
from gputui.local.secrets import Backend, Secrets
from gputui.local.vault import WrongPassphrase
from gputui.model.errors import (
    AgentError,
    AuthError,
    ConfirmationNeeded,
    GputuiError,
    NotFoundError,
    SecretsError,
    Unreachable,
    UsageError,
    VaultLocked,
)
from gputui.providers import registry
from gputui.providers.base import KeyCheck

KEY = "fake-key-0123456789"
PASSPHRASE = "fake passphrase"


@dataclass
class FakeClient:
    name: str
    error: GputuiError | None

    async def check_key(self) -> KeyCheck:
        if self.error is not None:
            raise self.error
        return KeyCheck(self.name, ok=self.name != "refusing", identity="team-1", detail="no such key")


@dataclass
class FakeDesk:
    """What the commands use of a desk. `agent_pid` None: no agent; `told` counts the keys handed to one."""

    secrets: Secrets
    errors: dict[str, GputuiError] = field(default_factory=dict)
    closed: int = 0
    agent_pid: int | None = None
    agent_error: AgentError | None = None
    told: int = 0
    guarded: int = 0

    def client(self, name: str) -> FakeClient:
        info = registry.provider_info(name)
        if self.secrets.find(name, info.key_variables) is None:
            raise AuthError(f"There is no key for {name}.")
        return FakeClient(name, self.errors.get(name))

    async def aclose(self) -> None:
        self.closed += 1

    def agent_state(self) -> SimpleNamespace:
        return SimpleNamespace(pid=self.agent_pid)

    def ensure_agent(self) -> None:
        self.told += 1
        if self.agent_error is not None:
            raise self.agent_error

    def guard(self) -> None:
        self.guarded += 1


class Cli:
    """The auth group on one desk. `interactive` says whether a person sits at the terminal."""

    def __init__(self, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = paths
        self.environ = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
        self.interactive = False
        self.keyring: KeyringStore | None = None
        self.desk = FakeDesk(self.secrets())
        monkeypatch.setattr(auth_module, "open_desk", lambda ctx: self.open())
        monkeypatch.setattr(auth_module, "_is_terminal", lambda: self.interactive)
        monkeypatch.setattr(auth_module, "require_yes", self._require_yes)

    def secrets(self) -> Secrets:
        return Secrets(self.paths, self.environ, keyring=self.keyring)

    def open(self) -> FakeDesk:
        self.desk.secrets = self.secrets()
        return self.desk

    def _require_yes(self, question: str, *, yes: bool) -> None:
        """Ask where a person sits at the terminal, which the runner's streams cannot tell."""
        if self.interactive and not yes:
            click.confirm(question, abort=True, err=True)
        else:
            require_yes(question, yes=yes)

    def run(self, *arguments: str, typed: str = "") -> Result:
        result = CliRunner().invoke(auth_module.auth, list(arguments), input=typed)
        assert KEY not in result.output
        assert PASSPHRASE not in result.output
        return result

    def data(self, *arguments: str, typed: str = "") -> Any:
        result = self.run(*arguments, "--json", typed=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        document = json.loads(result.stdout)
        assert document["status"] == "ok"
        return document["data"]

    def fails(self, error: type[GputuiError], *arguments: str, typed: str = "") -> str:
        result = self.run(*arguments, typed=typed)
        assert type(result.exception) is error, (result.exception, result.output)
        assert result.stdout == ""
        assert KEY not in str(result.exception)
        return str(result.exception)


@pytest.fixture
def cli(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(paths, monkeypatch)


class ReadyKeyring(KeyringStore):
    def __init__(self) -> None:
        super().__init__("default", {})
        self.kept: dict[str, str] = {}

    def state(self) -> KeyringState:
        return KeyringState.READY

    def get(self, provider: str) -> str | None:
        return self.kept.get(provider)

    def put(self, provider: str, value: str) -> None:
        self.kept[provider] = value

    def remove(self, provider: str) -> bool:
        return self.kept.pop(provider, None) is not None


def test_login_from_a_pipe_into_the_vault(cli: Cli) -> None:
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = PASSPHRASE
    result = cli.run("login", "huddle", typed=f"{KEY}\n")
    assert result.exception is None
    assert str(cli.paths.vault_file) in result.stderr
    found = cli.secrets().find("huddle")
    assert found is not None
    assert (found.value, found.source.value) == (KEY, "vault")


def test_login_prefers_a_keyring_that_is_ready(cli: Cli) -> None:
    cli.keyring = keyring = ReadyKeyring()
    said = cli.data("login", "huddle", typed=KEY)
    assert said == {
        "provider": "huddle",
        "backend": "keyring",
        "where": keyring.where("huddle"),
        "shadowed_by": None,
    }
    assert keyring.kept == {"huddle": KEY}
    assert not cli.paths.data_dir.exists()


def test_login_at_a_terminal_says_where_and_asks_before_anything(cli: Cli) -> None:
    cli.interactive = True
    refused = cli.run("login", "huddle", typed="n\n")
    assert refused.exit_code == 1
    assert str(cli.paths.vault_file) in refused.output
    assert not cli.paths.data_dir.exists()
    typed = f"y\n{KEY}\n{PASSPHRASE}\n{PASSPHRASE}\n"
    assert cli.run("login", "huddle", typed=typed).exception is None
    assert cli.secrets().unlock(PASSPHRASE) == ("huddle",)
    # The vault is there now: its passphrase is asked for once.
    assert cli.run("login", "huddle", "--yes", typed=f"{KEY}\n{PASSPHRASE}\n").exception is None
    cli.fails(WrongPassphrase, "login", "huddle", "--yes", typed=f"{KEY}\nfake wrong\n")


def test_login_without_a_passphrase_and_nobody_to_ask(cli: Cli) -> None:
    assert "GPUTUI_VAULT_PASSPHRASE" in cli.fails(VaultLocked, "login", "huddle", typed=KEY)
    assert not cli.paths.vault_file.exists()


@pytest.mark.parametrize("typed", ["", "\n", "two words", "fake\nfake", "x" * 70_000])
def test_login_refuses_what_is_no_key(cli: Cli, typed: str) -> None:
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = PASSPHRASE
    cli.fails(UsageError, "login", "huddle", "--stdin", typed=typed)
    assert not cli.paths.vault_file.exists()


def test_plain_text_has_to_be_asked_for(cli: Cli) -> None:
    cli.fails(UsageError, "login", "huddle", "--backend", "plain", typed=KEY)
    cli.fails(UsageError, "login", "huddle", "--backend", "vault", "--insecure-storage", typed=KEY)
    assert not cli.paths.plain_file.exists()
    result = cli.run("login", "huddle", "--insecure-storage", typed=KEY)
    assert "PLAIN TEXT" in result.stderr
    assert cli.paths.plain_file.stat().st_mode & 0o777 == 0o600
    assert "PLAIN TEXT" in cli.run("whoami").stdout


def test_a_backend_that_cannot_serve_is_refused_with_its_reason(cli: Cli) -> None:
    assert "off" in cli.fails(SecretsError, "login", "huddle", "--backend", "keyring", typed=KEY)


def test_login_tells_when_another_key_comes_first(cli: Cli) -> None:
    cli.environ |= {"HUDDLE_API_KEY": "fake-key-from-env", "GPUTUI_VAULT_PASSPHRASE": PASSPHRASE}
    assert cli.data("login", "huddle", typed=KEY)["shadowed_by"] == "HUDDLE_API_KEY"


def test_a_running_agent_gets_the_new_key(cli: Cli) -> None:
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = PASSPHRASE
    cli.run("login", "huddle", typed=KEY)
    assert (cli.desk.told, cli.desk.guarded) == (0, 1)
    cli.desk.agent_pid = 4711
    cli.run("login", "huddle", typed=KEY)
    assert (cli.desk.told, cli.desk.guarded) == (1, 1)
    cli.desk.agent_error = AgentError("The running agent did not take the keys.")
    result = cli.run("login", "huddle", typed=KEY)
    assert result.exit_code == 0
    assert "did not take the keys" in result.stderr
    assert "agent stop" in cli.run("logout", "huddle", "--yes").stderr


def test_providers_that_are_not_there_or_need_no_key(cli: Cli) -> None:
    cli.fails(NotFoundError, "login", "nowhere", typed=KEY)
    cli.fails(NotFoundError, "logout", "nowhere", "--yes")
    cli.fails(NotFoundError, "test", "nowhere")
    cli.fails(UsageError, "login", "mock", typed=KEY)


def test_logout_asks_and_then_forgets_everywhere(cli: Cli) -> None:
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = PASSPHRASE
    for backend in (Backend.VAULT, Backend.PLAIN):
        cli.secrets().store("huddle", KEY, backend)
    cli.fails(ConfirmationNeeded, "logout", "huddle")
    cli.interactive = True
    assert cli.run("logout", "huddle", typed="n\n").exit_code == 1
    assert cli.secrets().find("huddle") is not None
    cli.environ["HUDDLE_API_KEY"] = "fake-key-from-env"
    said = cli.data("logout", "huddle", "--yes")
    assert len(said["removed"]) == 2
    assert said["still_in"] == "HUDDLE_API_KEY"
    del cli.environ["HUDDLE_API_KEY"]
    assert cli.secrets().find("huddle") is None
    assert "no key" in cli.run("logout", "huddle", "--yes").stdout


def test_logout_from_a_locked_vault(cli: Cli) -> None:
    cli.secrets().store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    cli.fails(VaultLocked, "logout", "huddle", "--yes")
    cli.interactive = True
    assert cli.run("logout", "huddle", "--yes", typed=f"{PASSPHRASE}\n").exception is None
    assert cli.secrets().delete("huddle").removed == ()


def huddle_row(cli: Cli) -> dict[str, Any]:
    """Return what whoami says of Huddle, beside which there are other providers."""
    return next(row for row in cli.data("whoami") if row["provider"] == "huddle")


def test_whoami_shows_the_place_and_four_characters(cli: Cli) -> None:
    row = huddle_row(cli)
    assert (row["provider"], row["backend"], row["last_four"], row["problem"]) == ("huddle", None, None, None)
    said = {rung["backend"]: rung["said"] for rung in row["looked_at"]}
    assert said["keyring"] == KeyringState.OFF.sentence
    assert said["vault"] == "there is no vault"
    assert KeyringState.OFF.sentence in cli.run("whoami").stdout

    cli.environ["GPUTUI_HUDDLE_API_KEY"] = KEY
    row = huddle_row(cli)
    assert (row["backend"], row["source"], row["last_four"]) == ("environment", "GPUTUI_HUDDLE_API_KEY", "6789")
    assert "6789" in cli.run("whoami").stdout


def test_whoami_tells_of_a_locked_vault(cli: Cli) -> None:
    cli.secrets().store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    row = huddle_row(cli)
    assert row["backend"] is None
    assert "locked" in row["problem"]
    assert "locked" in cli.run("whoami").stdout


def test_test_of_one_provider(cli: Cli) -> None:
    cli.fails(AuthError, "test", "huddle")
    cli.environ["HUDDLE_API_KEY"] = KEY
    assert cli.data("test", "huddle")["ok"] is True
    assert "team-1" in cli.run("test", "huddle").stdout
    cli.desk.errors["huddle"] = Unreachable("huddle cannot be reached from here.")
    cli.fails(Unreachable, "test", "huddle")
    cli.desk.errors["huddle"] = AuthError("huddle refused the key (401).")
    cli.fails(AuthError, "test", "huddle")
    assert cli.desk.closed == 5  # the connections are given back after every attempt


def test_an_answer_of_no_is_an_auth_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = SimpleNamespace(**{**_as_dict(registry.PROVIDERS["huddle"]), "name": "refusing"})
    monkeypatch.setattr(registry, "PROVIDERS", {**registry.PROVIDERS, "refusing": refusing})
    cli.environ["GPUTUI_REFUSING_API_KEY"] = KEY
    assert "no such key" in cli.fails(AuthError, "test", "refusing")


def test_test_of_all_reports_each_and_ends_with_the_worst(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.fails(AuthError, "test")
    twin = SimpleNamespace(**{**_as_dict(registry.PROVIDERS["huddle"]), "name": "twin"})
    monkeypatch.setattr(registry, "PROVIDERS", {**registry.PROVIDERS, "twin": twin})
    cli.environ |= {"HUDDLE_API_KEY": KEY}
    assert cli.run("test").exit_code == 0
    cli.desk.errors["twin"] = Unreachable("twin cannot be reached from here.")
    result = cli.run("test", "--json")
    assert result.exit_code == 7
    rows = json.loads(result.stdout)["data"]
    assert [(row["provider"], row["ok"], row["code"]) for row in rows] == [
        ("huddle", True, None),
        ("twin", False, "unreachable"),
    ]
    cli.desk.errors["huddle"] = AuthError("huddle refused the key (401).")
    failed = cli.run("test")
    assert failed.exit_code == 4
    assert "FAILED" in failed.stdout


def test_test_asks_for_the_passphrase_only_where_somebody_can_answer(cli: Cli) -> None:
    cli.secrets().store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    cli.fails(VaultLocked, "test", "huddle")
    cli.interactive = True
    assert cli.run("test", "huddle", typed=f"{PASSPHRASE}\n").exception is None
    assert cli.run("test", typed=f"{PASSPHRASE}\n").exit_code == 0


def test_unlock_checks_the_passphrase(cli: Cli) -> None:
    cli.fails(SecretsError, "unlock")
    cli.secrets().store("huddle", KEY, Backend.VAULT, PASSPHRASE)
    cli.fails(VaultLocked, "unlock")
    cli.interactive = True
    cli.fails(WrongPassphrase, "unlock", typed="fake wrong\n")
    assert "huddle" in cli.run("unlock", typed=f"{PASSPHRASE}\n").stdout
    cli.interactive = False
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = PASSPHRASE
    assert cli.data("unlock") == {"holds": ["huddle"]}
    cli.environ["GPUTUI_VAULT_PASSPHRASE"] = "fake wrong"
    cli.interactive = True
    cli.fails(WrongPassphrase, "unlock", typed=f"{PASSPHRASE}\n")


def _as_dict(info: Any) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__dataclass_fields__}
