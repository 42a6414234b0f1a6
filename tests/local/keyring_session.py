"""Runs inside `dbus-run-session`: starts a gnome-keyring-daemon, plays one scenario, prints what was seen as JSON.

Not a test itself; `test_keyring_real.py` starts it with a HOME of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from gputui.local.keyring_store import KeyringState, KeyringStore, KeyringUnavailable
from gputui.local.paths import paths_for
from gputui.local.secrets import Backend, KeySource, Secrets
from gputui.model.errors import GputuiError

KEY = "fake-key-0123456789"


@contextlib.contextmanager
def daemon(password: str) -> Iterator[int]:
    """A keyring daemon that owns its name on the bus; yields its pid. The first password of a HOME makes the keyring."""
    command = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdin is not None
        process.stdin.write(password)
        process.stdin.close()
        wait_for_name(deadline=time.monotonic() + 60)
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(60)


def wait_for_name(deadline: float) -> None:
    """Wait until somebody owns the Secret Service's name, without waking the one that D-Bus would start by itself."""
    from jeepney import DBusAddress, new_method_call  # type: ignore[import-untyped]
    from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]

    bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    with open_dbus_connection() as connection:
        while time.monotonic() < deadline:
            question = new_method_call(bus, "NameHasOwner", "s", ("org.freedesktop.secrets",))
            if connection.send_and_get_reply(question, timeout=60).body[0]:
                return
            time.sleep(0.02)
    raise SystemExit("the keyring daemon did not start")


def patient(profile: str) -> KeyringStore:
    """Return a keyring that a busy machine does not make give up."""
    return KeyringStore(profile, os.environ, probe_timeout_s=60, read_timeout_s=60, write_timeout_s=60)


def patient_secrets(profile: str) -> Secrets:
    return Secrets(paths_for(profile), keyring=patient(profile))


def reason(secrets: Secrets) -> str:
    return next(rung.reason for rung in secrets.status("huddle") if rung.source is KeySource.KEYRING)


def error_of(action: Callable[[], object]) -> str:
    try:
        action()
    except GputuiError as error:
        return error.message
    return ""


def unlocked() -> dict[str, Any]:
    import secretstorage

    with daemon("fake-password"):
        secrets = patient_secrets("work")
        usable = secrets.backend(Backend.KEYRING, "huddle").usable
        before = secrets.find("huddle")
        secrets.store("huddle", "fake-older-key-1", Backend.KEYRING)
        secrets.store("huddle", KEY, Backend.KEYRING)
        found = patient_secrets("work").find("huddle")
        with contextlib.closing(secretstorage.dbus_init()) as connection:
            wanted = {"service": "gputui", "username": "work:huddle"}
            kept = [item.get_secret().decode() for item in secretstorage.search_items(connection, wanted)]
        other_profile = patient_secrets("default").find("huddle")
        removed = secrets.delete("huddle").removed
        return {
            "usable": usable,
            "before": before,
            "found": found and [found.value, found.source],
            "kept": kept,
            "other_profile": other_profile,
            "removed": removed,
            "after": secrets.find("huddle"),
            "removed_again": secrets.delete("huddle").removed,
        }


def locked() -> dict[str, Any]:
    with daemon("fake-password"):
        patient_secrets("default").store("huddle", KEY, Backend.KEYRING)
    with daemon("fake-other-password"):
        os.environ["GPUTUI_VAULT_PASSPHRASE"] = "fake passphrase"
        secrets = patient_secrets("default")
        seen = {
            "state": patient("default").state(),
            "reason": reason(secrets),
            "find": secrets.find("huddle"),
            "store": error_of(lambda: secrets.store("huddle", KEY, Backend.KEYRING)),
            "not_checked": secrets.delete("huddle").not_checked,
        }
        secrets.store("huddle", KEY, Backend.VAULT)
        found = secrets.find("huddle")
        return {**seen, "source": found and found.source}


def stopped() -> dict[str, Any]:
    with daemon("fake-password") as pid:
        patient_secrets("default").store("huddle", KEY, Backend.KEYRING)
        secrets = Secrets(paths_for())
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        first = secrets.find("huddle")
        first_s = time.monotonic() - started
        os.kill(pid, signal.SIGCONT)
        patient_secrets("default").find("huddle")  # it answers again
        return {"first": first, "first_s": first_s, "reason": reason(secrets)}


class BelievesReady(KeyringStore):
    """Stands for a daemon that hangs right after it said it was ready."""

    def state(self) -> KeyringState:
        return super().state() if self._dead else KeyringState.READY


def stopped_after_the_probe() -> dict[str, Any]:
    with daemon("fake-password") as pid:
        os.kill(pid, signal.SIGSTOP)
        keyring = BelievesReady("default", os.environ, read_timeout_s=0.5, write_timeout_s=0.5)
        started = time.monotonic()
        states = []
        calls: list[Callable[[], object]] = [lambda: keyring.get("huddle"), lambda: keyring.put("huddle", KEY)]
        for call in calls:
            try:
                call()
            except KeyringUnavailable as error:
                states.append(error.state)
        return {"states": states, "seconds": time.monotonic() - started}


def activated() -> dict[str, Any]:
    """D-Bus starts the service by itself in a HOME that has no keyring yet."""
    state = patient("default").state()
    return {"state": state, "imported": "keyring" in sys.modules}


if __name__ == "__main__":
    scenarios = {
        scenario.__name__: scenario for scenario in (unlocked, locked, stopped, stopped_after_the_probe, activated)
    }
    print(json.dumps(scenarios[sys.argv[1]]()), flush=True)
