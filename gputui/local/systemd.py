"""The agent as a systemd user unit, so that it is there again after a reboot. Keys never go into a unit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gputui.model.errors import AgentError, StoreReadOnly

CALL_DEADLINE_S = 15.0
# Where things are, never what a key is: these are handed to the unit as they are now.
_PLACES = ("GPUTUI_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")
_PLACE_ENDINGS = ("_API_KEY_FILE", "_PASSPHRASE_FILE", "_URL")


@dataclass(frozen=True, slots=True)
class Lingering:
    """Whether a user's units run without a login; None where nobody can tell."""

    user: str
    is_on: bool | None


def unit_name(profile: str) -> str:
    return f"gputui-agent-{profile}.service"


def unit_path(profile: str, environ: Mapping[str, str]) -> Path:
    """Return where the user's own units live (systemd.unit(5))."""
    config = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user" / unit_name(profile)


def agent_argv(profile: str) -> list[str]:
    """Return the command that runs the agent of a profile from anywhere."""
    return [sys.executable, "-m", "gputui", "--profile", profile, "agent", "run"]


def unit_text(profile: str, environ: Mapping[str, str]) -> str:
    """Return the unit. It starts again whatever happens: the agent that a command started may be in its place for now."""
    places = {name: value for name, value in sorted(environ.items()) if _is_place(name)}
    return "\n".join(
        [
            "[Unit]",
            f"Description=gputui agent of profile {profile}: watches rented GPU machines",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=exec",
            f"ExecStart={' '.join(_quoted(word.replace('$', '$$')) for word in agent_argv(profile))}",
            *(f"Environment={_quoted(f'{name}={value}')}" for name, value in places.items()),
            "Restart=on-failure",
            "RestartSec=30",
            "TimeoutStopSec=30",
            "UMask=0077",
            "NoNewPrivileges=yes",
            "LockPersonality=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "SystemCallArchitectures=native",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        ]
    )


def cron_line(profile: str, environ: Mapping[str, str]) -> str:
    """Return what to put into a crontab where there is no systemd."""
    import shlex

    places = [f"{name}={value}" for name, value in sorted(environ.items()) if _is_place(name)]
    return "@reboot " + shlex.join([*(["env", *places] if places else []), *agent_argv(profile)]).replace("%", "\\%")


def install(profile: str, environ: Mapping[str, str]) -> Path:
    """Write the unit, and have systemd start it now and at every boot; again is fine. Raises AgentError, StoreReadOnly."""
    _require_systemd(cron_line(profile, environ))
    path = unit_path(profile, environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit_text(profile, environ), encoding="utf-8")
        path.chmod(0o600)
    except OSError as error:
        raise StoreReadOnly(f"The unit {path} cannot be written: {error.strerror}.") from error
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", unit_name(profile))
    return path


def uninstall(profile: str, environ: Mapping[str, str]) -> bool:
    """Stop the unit's agent and remove the unit; False when there was none. Raises AgentError."""
    path = unit_path(profile, environ)
    if not path.exists():
        return False
    _require_systemd(cron_line(profile, environ))
    _systemctl("disable", "--now", unit_name(profile))
    path.unlink()
    _systemctl("daemon-reload")
    return True


def lingering(environ: Mapping[str, str]) -> Lingering:
    """Ask logind whether this user's units run without a login."""
    user = environ.get("USER") or environ.get("LOGNAME") or str(os.getuid())
    said = _run("loginctl", "show-user", user, "-p", "Linger", "--value")
    answers = {"yes": True, "no": False}
    return Lingering(user, answers.get(said.stdout.strip()) if said is not None and said.returncode == 0 else None)


def _require_systemd(otherwise: str) -> None:
    """Raise AgentError, with the crontab line that does nearly the same, when units of this user cannot be run."""
    said = _run("systemctl", "--user", "show", "--property=Version")
    if said is not None and said.returncode == 0:
        return
    why = "it is not installed"
    if said is not None:
        why = (said.stderr.strip().splitlines() or ["it does not answer"])[0]
    raise AgentError(
        f"There is no systemd here that runs units of this user: {why}",
        hint=f"Over su or sudo there is none either. Without it, put this line into your crontab (crontab -e):\n{otherwise}",
    )


def _systemctl(*arguments: str) -> None:
    said = _run("systemctl", "--user", *arguments)
    if said is None or said.returncode != 0:
        why = said.stderr.strip() if said is not None else "it does not answer"
        raise AgentError(f"systemctl --user {' '.join(arguments)} failed: {why}")


def _run(*argv: str) -> subprocess.CompletedProcess[str] | None:
    """Run a program of the system; None when it is not there or does not answer in time."""
    program = shutil.which(argv[0])
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, *argv[1:]],
            capture_output=True,
            text=True,
            timeout=CALL_DEADLINE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _is_place(name: str) -> bool:
    return name in _PLACES or (name.startswith("GPUTUI_") and name.endswith(_PLACE_ENDINGS))


def _quoted(word: str) -> str:
    """Return a word as systemd.syntax(7) takes it: in quotes where need be, with no % that it would expand."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped}"' if any(letter in word for letter in " \t\n\"'\\;") else escaped
