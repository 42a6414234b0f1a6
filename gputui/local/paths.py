"""Where this program keeps things, per profile.

Each profile has its own configuration, state and keys. The default profile lives in the platform's usual folders
(`~/.config/gputui`, `~/.local/state/gputui`, `~/.local/share/gputui` on Linux), any other one in `profiles/<name>` below
each of them. `GPUTUI_HOME` puts everything below one folder instead.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gputui.model.errors import StoreReadOnly, UsageError

DEFAULT_PROFILE = "default"
# A profile's name is part of a machine's hostname label, which has 63 characters.
_PROFILE = re.compile(r"[a-z0-9][a-z0-9-]{0,24}")


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one profile. All absolute; nothing is created before `ensure`."""

    profile: str
    config_dir: Path
    state_dir: Path
    data_dir: Path

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def themes_dir(self) -> Path:
        return self.config_dir / "themes"

    @property
    def templates_file(self) -> Path:
        """What jobs are asked for with again and again, by name."""
        return self.config_dir / "templates.json"

    @property
    def database(self) -> Path:
        return self.state_dir / "gputui.db"

    @property
    def ui_state_file(self) -> Path:
        """What the interface remembers: saved filters and the theme."""
        return self.state_dir / "ui.json"

    @property
    def logs_dir(self) -> Path:
        """One file of raw bytes per job."""
        return self.state_dir / "logs"

    @property
    def agent_lock(self) -> Path:
        return self.state_dir / "agent.lock"

    @property
    def agent_log(self) -> Path:
        return self.state_dir / "agent.log"

    @property
    def ssh_dir(self) -> Path:
        """Our own key pair and the host keys pinned for machines."""
        return self.data_dir / "ssh"

    @property
    def vault_file(self) -> Path:
        return self.data_dir / "secrets.vault"

    @property
    def plain_file(self) -> Path:
        """Keys in plain text; exists only when the user asked for it with --insecure-storage."""
        return self.data_dir / "secrets.insecure.json"

    def ensure(self) -> None:
        """Create the folders that are missing, readable by their owner alone.

        Raises StoreReadOnly when one cannot be made, or when the state or data folder cannot be written. The
        configuration folder may be read-only: nothing here writes into it once it exists.
        """
        _make_private(self.config_dir)
        for folder in (self.state_dir, self.logs_dir, self.data_dir, self.ssh_dir):
            _make_private(folder)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise _unusable(folder, "it cannot be written")


def paths_for(profile: str | None = None) -> Paths:
    """Return the paths of a profile: the one named, else `GPUTUI_PROFILE`, else "default".

    Raises UsageError for a name that is not 1 to 25 lower-case letters, digits and dashes, or that begins with a dash.
    """
    name = profile if profile is not None else os.environ.get("GPUTUI_PROFILE") or DEFAULT_PROFILE
    if not _PROFILE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a profile.",
            field="profile",
            hint="Use 1 to 25 lower-case letters, digits and dashes, not beginning with a dash.",
        )
    config, state, data = _base_folders()
    if name != DEFAULT_PROFILE:
        config, state, data = (folder / "profiles" / name for folder in (config, state, data))
    return Paths(name, config, state, data)


def _base_folders() -> tuple[Path, Path, Path]:
    if home := os.environ.get("GPUTUI_HOME"):
        root = Path(home).expanduser().absolute()
        return root / "config", root / "state", root / "data"
    import platformdirs

    dirs = platformdirs.PlatformDirs("gputui", appauthor=False)
    return dirs.user_config_path.absolute(), dirs.user_state_path.absolute(), dirs.user_data_path.absolute()


def _make_private(folder: Path) -> None:
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, (error.strerror or "it cannot be made").lower()) from error
    if not folder.is_dir():
        raise _unusable(folder, "something that is not a folder is in its place")


def _unusable(folder: Path, reason: str) -> StoreReadOnly:
    return StoreReadOnly(
        f"The folder {folder} cannot be used: {reason}.",
        hint="Free or repair it, or set GPUTUI_HOME to a folder that can be written.",
    )
