"""The OS keyring, asked so that it can neither hang the program nor open a prompt.

On Linux (and everything else with D-Bus) the Secret Service is first asked read-only questions; only when it says that its
default collection is there and unlocked is the `keyring` library imported. We name the backend class ourselves: what the
library would choose may prompt on the terminal or keep keys in plain text. Every call runs on a daemon thread with a
deadline, because the library has none; one that misses it makes the keyring dead for this process.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from gputui.model.errors import SecretsError

SERVICE = "gputui"
PROBE_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 3.0
WRITE_TIMEOUT_S = 10.0

_BACKEND_OF_PLATFORM = {
    "darwin": "keyring.backends.macOS.Keyring",
    "win32": "keyring.backends.Windows.WinVaultKeyring",
}
_USUAL_BACKEND = "keyring.backends.SecretService.Keyring"
_ALLOWED = {
    _USUAL_BACKEND: "the desktop keyring (Secret Service)",
    "keyring.backends.libsecret.Keyring": "the desktop keyring (Secret Service)",
    "keyring.backends.kwallet.DBusKeyring": "KWallet",
    "keyring.backends.macOS.Keyring": "the macOS keychain",
    "keyring.backends.Windows.WinVaultKeyring": "the Windows credential locker",
}
_NEEDS_PROBE = frozenset({_USUAL_BACKEND, "keyring.backends.libsecret.Keyring"})
_SWITCHED_OFF = frozenset({"keyring.backends.null.Keyring", "keyring.backends.fail.Keyring"})

_T = TypeVar("_T")


class KeyringState(StrEnum):
    """What stands between us and the OS keyring; only `READY` lets a call through."""

    READY = "ready"
    LOCKED = "locked"
    NO_BUS = "no-bus"
    NO_SERVICE = "no-service"
    NO_COLLECTION = "no-default-collection"
    UNRESPONSIVE = "unresponsive"
    NO_LIBRARY = "no-lib"
    NOT_ALLOWED = "not-allowed"
    OFF = "off"
    ERROR = "error"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    KeyringState.READY: "it is unlocked and answers",
    KeyringState.LOCKED: "locked: unlock it where you are logged in with a desktop, or use the vault",
    KeyringState.NO_BUS: "no-bus: there is no D-Bus session here, as is usual over SSH",
    KeyringState.NO_SERVICE: "no-service: nothing on this machine offers a keyring over D-Bus",
    KeyringState.NO_COLLECTION: "no-default-collection: the keyring service has no keyring yet",
    KeyringState.UNRESPONSIVE: "unresponsive: it did not answer in time and is left alone until this program starts anew",
    KeyringState.NO_LIBRARY: "no-lib: the Python packages to reach it are not installed",
    KeyringState.NOT_ALLOWED: "not-allowed: PYTHON_KEYRING_BACKEND names a backend that may prompt or keep plain text",
    KeyringState.OFF: "off: PYTHON_KEYRING_BACKEND switches it off",
    KeyringState.ERROR: "error: it answered with an error",
}


class KeyringUnavailable(SecretsError):
    """The keyring did not serve; `state` says why."""

    def __init__(self, state: KeyringState, detail: str = "") -> None:
        super().__init__(f"The OS keyring cannot be used: {state.sentence}{f' ({detail})' if detail else ''}.")
        self.state = state


class KeyringStore:
    """The keys of one profile in the OS keyring, as service "gputui" and user "<profile>:<provider>"."""

    def __init__(
        self,
        profile: str,
        environ: Mapping[str, str],
        *,
        platform: str = sys.platform,
        probe_timeout_s: float = PROBE_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        self._profile = profile
        self._environ = environ
        self._platform = platform
        self._probe_timeout_s = probe_timeout_s
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self._dead = False

    def where(self, provider: str) -> str:
        """Return in words where a provider's key is or would be."""
        title = _ALLOWED.get(self._backend_name(), "the OS keyring")
        return f"{title}, service {SERVICE!r}, user {self._user(provider)!r}"

    def state(self) -> KeyringState:
        """Ask, without a prompt and within the probe's deadline, whether the keyring can be used now."""
        if self._dead:
            return KeyringState.UNRESPONSIVE
        backend = self._backend_name()
        if backend in _SWITCHED_OFF:
            return KeyringState.OFF
        if backend not in _ALLOWED:
            return KeyringState.NOT_ALLOWED
        if backend not in _NEEDS_PROBE:
            return KeyringState.READY
        try:
            # On a thread for the one step that the probe cannot bound, see there.
            state = _on_daemon_thread(
                lambda: probe_secret_service(self._environ, self._probe_timeout_s), self._probe_timeout_s + 0.5
            )
        except TimeoutError:
            state = KeyringState.UNRESPONSIVE
        self._dead = state is KeyringState.UNRESPONSIVE
        return state

    def get(self, provider: str) -> str | None:
        """Return a key, None when the keyring has none. Raises KeyringUnavailable."""
        user = self._user(provider)
        found: str | None = self._ask(lambda keyring: keyring.get_password(SERVICE, user), self._read_timeout_s)
        return found

    def put(self, provider: str, value: str) -> None:
        """Keep a key, replacing an older one. Raises KeyringUnavailable; after a time-out it may be kept all the same."""
        user = self._user(provider)
        self._ask(lambda keyring: keyring.set_password(SERVICE, user, value), self._write_timeout_s)

    def remove(self, provider: str) -> bool:
        """Forget a key and return whether there was one. Raises KeyringUnavailable."""
        user = self._user(provider)

        def remove(keyring: Any) -> bool:
            if keyring.get_password(SERVICE, user) is None:
                return False
            keyring.delete_password(SERVICE, user)
            return True

        return self._ask(remove, self._write_timeout_s)

    def _user(self, provider: str) -> str:
        return f"{self._profile}:{provider}"

    def _backend_name(self) -> str:
        pinned = self._environ.get("PYTHON_KEYRING_BACKEND", "").strip()
        return pinned or _BACKEND_OF_PLATFORM.get(self._platform, _USUAL_BACKEND)

    def _ask(self, question: Callable[[Any], _T], timeout_s: float) -> _T:
        state = self.state()
        if state is not KeyringState.READY:
            raise KeyringUnavailable(state)
        try:
            return _on_daemon_thread(lambda: question(self._backend()), timeout_s)
        except TimeoutError:
            self._dead = True
            raise KeyringUnavailable(KeyringState.UNRESPONSIVE) from None
        except ImportError:
            raise KeyringUnavailable(KeyringState.NO_LIBRARY) from None
        except Exception as error:  # noqa: BLE001 - backends raise errors of many libraries, whose texts we do not vouch for
            from keyring.errors import KeyringLocked

            locked = isinstance(error, KeyringLocked)
            state = KeyringState.LOCKED if locked else KeyringState.ERROR
            raise KeyringUnavailable(state, type(error).__name__) from None

    def _backend(self) -> Any:
        import importlib

        # The libraries below know this one variable only, and systemd does not set it in every SSH session.
        if (address := session_bus_address(self._environ)) is not None:
            os.environ.setdefault("DBUS_SESSION_BUS_ADDRESS", address)
        module_name, _, class_name = self._backend_name().rpartition(".")
        return getattr(importlib.import_module(module_name), class_name)()


def session_bus_address(environ: Mapping[str, str]) -> str | None:
    """Return the address of the session bus: the variable's, else the usual socket when it exists, else None."""
    if address := environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return address
    runtime_dir = environ.get("XDG_RUNTIME_DIR")
    if runtime_dir and (socket := Path(runtime_dir, "bus")).is_socket():
        return f"unix:path={socket}"
    return None


def probe_secret_service(environ: Mapping[str, str], timeout_s: float) -> KeyringState:
    """Return the state of the Secret Service, by read-only questions that open no prompt and start no unlocking.

    `timeout_s` bounds all questions together, but not the greeting of a bus that hangs: its library knows no limit there.
    """
    address = session_bus_address(environ)
    if address is None:
        return KeyringState.NO_BUS
    try:
        from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]
    except ImportError:
        return KeyringState.NO_LIBRARY
    deadline = time.monotonic() + timeout_s
    try:
        connection = open_dbus_connection(address, auth_timeout=min(1.0, timeout_s))
    except TimeoutError:
        return KeyringState.UNRESPONSIVE
    except (OSError, RuntimeError, ValueError, StopIteration):
        return KeyringState.NO_BUS
    with contextlib.closing(connection):
        try:
            return _ask_service(connection, deadline)
        except TimeoutError:
            return KeyringState.UNRESPONSIVE
        except (_ServiceError, OSError, ValueError, LookupError, TypeError):
            return KeyringState.ERROR


class _ServiceError(Exception):
    """The bus or the service answered with an error."""


def _ask_service(connection: Any, deadline: float) -> KeyringState:
    from jeepney import DBusAddress, MessageType, Properties, new_method_call  # type: ignore[import-untyped]

    def ask(message: Any) -> Any:
        reply = connection.send_and_get_reply(message, timeout=max(0.0, deadline - time.monotonic()))
        if reply.header.message_type is MessageType.error:
            raise _ServiceError
        return reply.body[0]

    name = "org.freedesktop.secrets"
    bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    running = ask(new_method_call(bus, "NameHasOwner", "s", (name,)))
    if not running and name not in ask(new_method_call(bus, "ListActivatableNames")):
        return KeyringState.NO_SERVICE
    service = DBusAddress("/org/freedesktop/secrets", name, "org.freedesktop.Secret.Service")
    path = ask(new_method_call(service, "ReadAlias", "s", ("default",)))
    if path == "/":
        return KeyringState.NO_COLLECTION
    collection = DBusAddress(path, name, "org.freedesktop.Secret.Collection")
    _, locked = ask(Properties(collection).get("Locked"))
    return KeyringState.LOCKED if locked else KeyringState.READY


def _on_daemon_thread(function: Callable[[], _T], timeout_s: float) -> _T:
    """Run `function` where it cannot keep the program from exiting. Raises TimeoutError, or what it raised."""
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((True, function()))
        except Exception as error:  # noqa: BLE001 - carried over to the caller's thread and raised there
            answers.put((False, error))

    threading.Thread(target=work, name="gputui-keyring", daemon=True).start()
    try:
        succeeded, outcome = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from None
    if not succeeded:
        raise outcome
    result: _T = outcome
    return result
