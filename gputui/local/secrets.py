"""Where a provider's key comes from, and where it may be kept.

Reading goes down a ladder; the first rung that has the key serves, and the answer says which one it was:

1. `GPUTUI_<PROVIDER>_API_KEY`, then the file named by `GPUTUI_<PROVIDER>_API_KEY_FILE`
2. the variables that the provider's own tools use
3. the OS keyring, when it is ready without a prompt
4. the encrypted vault, when its passphrase is known
5. the plain file, which exists only when somebody asked for it

Writing happens on one rung that the caller names, never by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gputui.local.keyring_store import KeyringState, KeyringStore, KeyringUnavailable
from gputui.local.paths import Paths
from gputui.local.plain_file import PlainFile
from gputui.local.vault import Vault, WrongPassphrase
from gputui.model.errors import SecretsError, UsageError, VaultLocked
from gputui.model.keys import check_key_text, last_characters

PASSPHRASE_VARIABLE = "GPUTUI_VAULT_PASSPHRASE"  # noqa: S105 - a name, not a secret
_MAX_FILE_BYTES = 64 * 1024
_MAY_HOLD_KEYS = frozenset({KeyringState.LOCKED, KeyringState.UNRESPONSIVE, KeyringState.ERROR})


class KeySource(StrEnum):
    """The rungs of the ladder, and a key that another process of ours handed over instead."""

    ENVIRONMENT = "environment"
    FILE = "file"
    KEYRING = "keyring"
    VAULT = "vault"
    PLAIN = "plain"
    HANDED_OVER = "handed over"


class Backend(StrEnum):
    """The places a key can be written to."""

    KEYRING = "keyring"
    VAULT = "vault"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class KeyFound:
    """A key and where it came from. `where` is the variable, path or keyring entry, in words."""

    value: str = field(repr=False)
    source: KeySource
    where: str

    @property
    def last_characters(self) -> str:
        """The last four characters, which may be shown; empty when the key is too short for that."""
        return last_characters(self.value)


@dataclass(frozen=True, slots=True)
class RungStatus:
    """Whether one rung served a key and, in words, why or why not. `problem` is set when the search had to end there."""

    source: KeySource
    where: str
    reason: str
    found: KeyFound | None = None
    problem: SecretsError | None = None

    @property
    def served(self) -> bool:
        return self.found is not None


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """A place a key can be written to: `where` that is, whether it is `usable` now, and in words why or why not."""

    name: Backend
    usable: bool
    reason: str
    where: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What deleting a key did: the places it is gone from, and those that could not be looked into, with the reason."""

    removed: tuple[str, ...]
    not_checked: tuple[str, ...]


class Secrets:
    """The keys of one profile. May be used from any thread; a call can take seconds when the keyring hangs."""

    def __init__(
        self, paths: Paths, environ: Mapping[str, str] = os.environ, *, keyring: KeyringStore | None = None
    ) -> None:
        self._environ = environ
        self._keyring = keyring or KeyringStore(paths.profile, environ)
        self._vault = Vault(paths.vault_file)
        self._plain = PlainFile(paths.plain_file)

    def find(self, provider: str, variables: Sequence[str] = ()) -> KeyFound | None:
        """Return the key of a provider, None when no rung has one.

        `variables` are the environment variables that the provider's own tools use. Raises VaultLocked when the key is
        in the vault and its passphrase is not known, SecretsError when a rung that was chosen on purpose is unusable
        (a key file that cannot be read, a damaged vault). A keyring that does not serve is passed over: see `status`.
        """
        for rung in self._ladder(provider, variables):
            if rung.problem is not None:
                raise rung.problem
            if rung.found is not None:
                return rung.found
        return None

    def status(self, provider: str, variables: Sequence[str] = ()) -> list[RungStatus]:
        """Return what each rung said, in order, up to the one that served or stopped the search. Raises nothing."""
        rungs: list[RungStatus] = []
        for rung in self._ladder(provider, variables):
            rungs.append(rung)
            if rung.served or rung.problem is not None:
                break
        return rungs

    def unlock(self, passphrase: str | None = None) -> tuple[str, ...]:
        """Open the vault for this process, with the environment's passphrase when none is given.

        Returns the providers it holds keys of. Raises VaultLocked when there is no passphrase or the wrong one
        (WrongPassphrase), SecretsError when there is no vault or it is damaged.
        """
        if passphrase is None and self._vault.exists():
            if not self._vault_opens():
                raise _no_passphrase(f"The vault {self._vault.path} is locked.")
        else:
            self._vault.unlock(passphrase or "")
        return self._vault.holds()

    def available_backends(self) -> list[BackendStatus]:
        """Return the places a key can be written to, best first."""
        return [self.backend(name, "PROVIDER") for name in Backend]

    def backend(self, name: Backend, provider: str) -> BackendStatus:
        """Return one place and where exactly the key of `provider` would go in it."""
        match name:
            case Backend.KEYRING:
                state = self._keyring.state()
                where = self._keyring.where(provider)
                return BackendStatus(name, state is KeyringState.READY, state.sentence, where)
            case Backend.VAULT:
                reason = "encrypted with a passphrase of yours"
                try:
                    if not self._vault.exists():
                        reason += "; made with the first key"
                    elif not self._vault_opens():
                        reason += "; locked, asks for it"
                except SecretsError as error:
                    return BackendStatus(name, False, str(error), self._vault_where())
                return BackendStatus(name, True, reason, self._vault_where())
            case Backend.PLAIN:
                reason = "PLAIN TEXT, readable by anyone who can read your files; needs --insecure-storage"
                return BackendStatus(name, True, reason, self._plain_where())

    def needs_passphrase(self) -> bool:
        """Return whether writing to the vault needs a passphrase from a person. Raises SecretsError."""
        if self._vault.exists():
            return not self._vault_opens()
        return self._environment_passphrase() is None

    def vault_exists(self) -> bool:
        """Return whether this profile has a vault already, so that its passphrase is known to somebody."""
        return self._vault.exists()

    def store(self, provider: str, key: str, backend: Backend, passphrase: str | None = None) -> str:
        """Keep a key in the one place named and return that place in words.

        The vault takes `passphrase`, else the environment's; the first key makes the vault. Raises UsageError for a key
        that cannot be one, KeyringUnavailable, VaultLocked, SecretsError.
        """
        value = check_key_text(provider, key)
        match backend:
            case Backend.KEYRING:
                self._keyring.put(provider, value)
                return self._keyring.where(provider)
            case Backend.VAULT:
                self._open_or_create_vault(passphrase)
                self._vault.put(provider, value)
                return self._vault_where()
            case Backend.PLAIN:
                self._plain.put(provider, value)
                return self._plain_where()

    def delete(self, provider: str, passphrase: str | None = None) -> Forgotten:
        """Remove a key from every store. Variables and files named in the environment are not ours to remove.

        Raises VaultLocked, having removed nothing, when the vault holds the key and no passphrase opens it.
        """
        removed: list[str] = []
        not_checked: list[str] = []
        if provider in self._vault.holds():
            self._open_or_create_vault(passphrase)
            if self._vault.remove(provider):
                removed.append(self._vault_where())
        if self._plain.remove(provider):
            removed.append(self._plain_where())
        try:
            if self._keyring.remove(provider):
                removed.append(self._keyring.where(provider))
        except KeyringUnavailable as error:
            if error.state in _MAY_HOLD_KEYS:
                not_checked.append(error.message)
        return Forgotten(tuple(removed), tuple(not_checked))

    def _ladder(self, provider: str, variables: Sequence[str]) -> Iterator[RungStatus]:
        """Ask one rung after another, each only when the caller goes on to it."""
        prefix = f"GPUTUI_{provider.upper().replace('-', '_')}_API_KEY"
        yield self._ask_variable(provider, prefix)
        yield self._ask_key_file(provider, f"{prefix}_FILE")
        for variable in variables:
            yield self._ask_variable(provider, variable)
        yield self._ask_keyring(provider)
        yield self._ask_vault(provider)
        yield self._ask_plain(provider)

    def _ask_variable(self, provider: str, variable: str) -> RungStatus:
        value = self._environ.get(variable, "")
        if not value.strip():
            return RungStatus(KeySource.ENVIRONMENT, variable, "not set")
        return _checked(provider, value, KeySource.ENVIRONMENT, variable)

    def _ask_key_file(self, provider: str, variable: str) -> RungStatus:
        name = self._environ.get(variable, "")
        if not name:
            return RungStatus(KeySource.FILE, variable, "not set")
        where = f"{name} ({variable})"
        try:
            value = _read_small_file(Path(name), variable)
        except SecretsError as error:
            return RungStatus(KeySource.FILE, where, error.message, problem=error)
        return _checked(provider, value, KeySource.FILE, where)

    def _ask_keyring(self, provider: str) -> RungStatus:
        where = self._keyring.where(provider)
        try:
            value = self._keyring.get(provider)
        except KeyringUnavailable as error:
            return RungStatus(KeySource.KEYRING, where, error.state.sentence)
        if value is None:
            return RungStatus(KeySource.KEYRING, where, "ready, holds no key of this provider")
        return _checked(provider, value, KeySource.KEYRING, where)

    def _ask_vault(self, provider: str) -> RungStatus:
        where = self._vault_where()
        try:
            if not self._vault.exists():
                return RungStatus(KeySource.VAULT, where, "there is no vault")
            if provider not in self._vault.holds():
                return RungStatus(KeySource.VAULT, where, "holds no key of this provider")
            self._vault_opens()
            value = self._vault.get(provider)
        except SecretsError as error:
            return RungStatus(KeySource.VAULT, where, str(error), problem=error)
        if value is None:
            return RungStatus(KeySource.VAULT, where, "holds no key of this provider")
        return _checked(provider, value, KeySource.VAULT, where)

    def _ask_plain(self, provider: str) -> RungStatus:
        where = self._plain_where()
        try:
            value = self._plain.get(provider)
        except SecretsError as error:
            return RungStatus(KeySource.PLAIN, where, error.message, problem=error)
        if value is None:
            return RungStatus(KeySource.PLAIN, where, "holds no key of this provider")
        return _checked(provider, value, KeySource.PLAIN, where)

    def _vault_opens(self) -> bool:
        """Unlock an existing vault with the environment's passphrase if need be, and return whether it is open.

        Raises WrongPassphrase, naming the variable, or SecretsError.
        """
        if self._vault.is_unlocked():
            return True
        passphrase = self._environment_passphrase()
        if passphrase is None:
            return False
        try:
            self._vault.unlock(passphrase)
        except WrongPassphrase as error:
            raise WrongPassphrase(error.message, hint=f"It came from {PASSPHRASE_VARIABLE} or its _FILE.") from None
        return True

    def _open_or_create_vault(self, passphrase: str | None) -> None:
        if passphrase is None and self._vault.exists():
            self._vault_opens()
            return
        chosen = passphrase if passphrase is not None else self._environment_passphrase()
        if chosen is None:
            raise _no_passphrase(f"A new vault at {self._vault.path} needs a passphrase.")
        self._vault.create(chosen)

    def _environment_passphrase(self) -> str | None:
        if passphrase := self._environ.get(PASSPHRASE_VARIABLE):
            return passphrase
        variable = f"{PASSPHRASE_VARIABLE}_FILE"
        if name := self._environ.get(variable):
            return _read_small_file(Path(name), variable).removesuffix("\n").removesuffix("\r") or None
        return None

    def _vault_where(self) -> str:
        return f"the encrypted vault {self._vault.path}"

    def _plain_where(self) -> str:
        return f"the plain-text file {self._plain.path}"


def _no_passphrase(message: str) -> VaultLocked:
    hint = f"Give it in {PASSPHRASE_VARIABLE} or in a file named by {PASSPHRASE_VARIABLE}_FILE."
    return VaultLocked(message, hint=hint)


def _checked(provider: str, value: str, source: KeySource, where: str) -> RungStatus:
    try:
        found = KeyFound(check_key_text(provider, value), source, where)
    except UsageError as error:
        hint = f"Put the key alone there, or clear it and run: gputui auth login {provider}"
        problem = SecretsError(f"{error.message} It came from {where}.", hint=hint)
        return RungStatus(source, where, problem.message, problem=problem)
    return RungStatus(source, where, "served", found=found)


def _read_small_file(path: Path, variable: str) -> str:
    """Return a file's text. Raises SecretsError, naming the variable that points to it."""
    try:
        if not path.is_file():  # a pipe or device could keep us waiting for ever
            raise SecretsError(f"{variable} names {path}, which is not a file.")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise SecretsError(f"{variable} names {path}, which is far too large.")
        return content.decode()
    except OSError as error:
        raise SecretsError(f"{variable} names {path}, which cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise SecretsError(f"{variable} names {path}, which is not UTF-8 text.") from None
