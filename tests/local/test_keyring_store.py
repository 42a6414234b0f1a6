"""The keyring with invented back-ends and buses; `test_keyring_real.py` asks a real Secret Service."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gputui.local.keyring_store import (
    KeyringState,
    KeyringStore,
    KeyringUnavailable,
    probe_secret_service,
    session_bus_address,
)

MODULE = "keyring.backends.macOS"


class Memory:
    """A back-end that works."""

    kept: dict[tuple[str, str], str]

    def get_password(self, service: str, user: str) -> str | None:
        return self.kept.get((service, user))

    def set_password(self, service: str, user: str, value: str) -> None:
        self.kept[service, user] = value

    def delete_password(self, service: str, user: str) -> None:
        del self.kept[service, user]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a class in the place of the macOS back-end, which needs no probe."""

    def put(backend: type) -> type:
        module = types.ModuleType(MODULE)
        module.Keyring = backend  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, MODULE, module)
        return backend

    return put


def store(**limits: float) -> KeyringStore:
    return KeyringStore("work", {}, platform="darwin", **limits)


def test_keys_are_kept_under_our_service_and_the_profile(install: Any) -> None:
    Memory.kept = {}
    install(Memory)
    keyring = store()
    assert keyring.state() is KeyringState.READY
    assert keyring.get("huddle") is None
    keyring.put("huddle", "fake-key-1")
    assert Memory.kept == {("gputui", "work:huddle"): "fake-key-1"}
    assert keyring.get("huddle") == "fake-key-1"
    assert keyring.remove("huddle")
    assert not keyring.remove("huddle")
    assert "macOS" in keyring.where("huddle")
    assert "work:huddle" in keyring.where("huddle")


def test_a_backend_that_hangs_is_dead_for_this_process(install: Any) -> None:
    release = threading.Event()
    asked = []

    class Hanging(Memory):
        def get_password(self, service: str, user: str) -> str | None:
            asked.append(user)
            release.wait(30)
            return None

    install(Hanging)
    keyring = store(read_timeout_s=0.2)
    started = time.monotonic()
    try:
        for _ in range(3):
            with pytest.raises(KeyringUnavailable) as caught:
                keyring.get("huddle")
            assert caught.value.state is KeyringState.UNRESPONSIVE
        assert keyring.state() is KeyringState.UNRESPONSIVE
        assert time.monotonic() - started < 20
        assert asked == ["work:huddle"]
    finally:
        release.set()


def test_what_a_backend_says_in_an_error_is_not_repeated(install: Any) -> None:
    class Broken(Memory):
        def set_password(self, service: str, user: str, value: str) -> None:
            raise RuntimeError(f"could not write {value}")

    install(Broken)
    with pytest.raises(KeyringUnavailable) as caught:
        store().put("huddle", "fake-key-1")
    assert caught.value.state is KeyringState.ERROR
    assert "RuntimeError" in str(caught.value)
    assert "fake-key-1" not in str(caught.value)


def test_a_collection_locked_between_probe_and_call(install: Any) -> None:
    class Locked(Memory):
        def get_password(self, service: str, user: str) -> str | None:
            from keyring.errors import KeyringLocked

            raise KeyringLocked

    install(Locked)
    with pytest.raises(KeyringUnavailable) as caught:
        store().get("huddle")
    assert caught.value.state is KeyringState.LOCKED


@pytest.mark.parametrize(
    ("pinned", "state"),
    [
        ("keyring.backends.null.Keyring", KeyringState.OFF),
        ("keyring.backends.fail.Keyring", KeyringState.OFF),
        ("keyring.backends.chainer.ChainerBackend", KeyringState.NOT_ALLOWED),
        ("keyrings.alt.file.PlaintextKeyring", KeyringState.NOT_ALLOWED),
        ("keyring.backends.SecretService.Keyring", KeyringState.NO_BUS),
        ("keyring.backends.libsecret.Keyring", KeyringState.NO_BUS),
        ("keyring.backends.kwallet.DBusKeyring", KeyringState.READY),
    ],
)
def test_a_pinned_backend_is_used_only_when_it_is_safe(pinned: str, state: KeyringState) -> None:
    keyring = KeyringStore("default", {"PYTHON_KEYRING_BACKEND": pinned}, platform="linux")
    assert keyring.state() is state
    if state is not KeyringState.READY:
        with pytest.raises(KeyringUnavailable) as caught:
            keyring.get("huddle")
        assert caught.value.state is state


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_no_probe(platform: str) -> None:
    assert KeyringStore("default", {}, platform=platform).state() is KeyringState.READY


def test_a_native_backend_that_is_not_there_is_an_error_not_a_crash() -> None:
    if sys.platform == "win32":
        pytest.skip("it is there")
    with pytest.raises(KeyringUnavailable):
        KeyringStore("default", {}, platform="win32").get("huddle")


def test_every_state_has_a_sentence() -> None:
    for state in KeyringState:
        assert state.sentence


@pytest.fixture
def silent_bus(tmp_path: Path) -> Iterator[Path]:
    """A socket that accepts connections and never says a word."""
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


def test_bus_address(silent_bus: Path, tmp_path: Path) -> None:
    assert session_bus_address({}) is None
    assert session_bus_address({"XDG_RUNTIME_DIR": str(tmp_path / "none")}) is None
    assert session_bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={silent_bus}"
    both = {"XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x"}
    assert session_bus_address(both) == "unix:path=/x"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"},
        {"DBUS_SESSION_BUS_ADDRESS": "nonsense"},
        {"DBUS_SESSION_BUS_ADDRESS": "tcp:host=localhost,port=1"},
        {"DBUS_SESSION_BUS_ADDRESS": "unix:path="},
    ],
)
def test_no_bus(environ: dict[str, str]) -> None:
    assert probe_secret_service(environ, 60.0) is KeyringState.NO_BUS


def test_a_silent_bus_is_unresponsive_within_the_deadline(silent_bus: Path) -> None:
    keyring = KeyringStore(
        "default", {"XDG_RUNTIME_DIR": str(silent_bus.parent)}, platform="linux", probe_timeout_s=0.3
    )
    started = time.monotonic()
    assert keyring.state() is KeyringState.UNRESPONSIVE
    assert time.monotonic() - started < 20


def test_a_bus_that_hangs_in_its_greeting_is_left_behind(silent_bus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    import jeepney.io.blocking  # type: ignore[import-untyped]

    def greet_for_ever(*_: object, **__: object) -> None:
        release.wait(30)
        raise TimeoutError

    monkeypatch.setattr(jeepney.io.blocking, "open_dbus_connection", greet_for_ever)
    environ = {"XDG_RUNTIME_DIR": str(silent_bus.parent)}
    keyring = KeyringStore("default", environ, platform="linux", probe_timeout_s=0.1)
    started = time.monotonic()
    try:
        assert keyring.state() is KeyringState.UNRESPONSIVE
        assert time.monotonic() - started < 20
    finally:
        release.set()


NO_IMPORT = """
import sys
from gputui.local.keyring_store import KeyringStore
state = KeyringStore("default", {}, platform="linux").state()
print(state.value, [name for name in ("keyring", "secretstorage", "jeepney") if name in sys.modules])
"""

HANGING = """
import sys, threading, time, types
module = types.ModuleType("keyring.backends.macOS")
class Keyring:
    def get_password(self, service, user):
        time.sleep(60)
module.Keyring = Keyring
sys.modules["keyring.backends.macOS"] = module
from gputui.local.keyring_store import KeyringStore, KeyringUnavailable
try:
    KeyringStore("default", {}, platform="darwin", read_timeout_s=0.2).get("huddle")
except KeyringUnavailable as error:
    print(error.state.value)
"""


def test_without_a_bus_the_library_is_not_even_imported() -> None:
    done = subprocess.run([sys.executable, "-c", NO_IMPORT], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "no-bus []"


def test_a_hanging_call_does_not_keep_the_process_alive() -> None:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "unresponsive"
    assert time.monotonic() - started < 40
