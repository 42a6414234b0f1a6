"""Themes from TOML files: those shipped with the program, then the user's own, each checked before it is used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.theme import BUILTIN_THEMES, Theme

DEFAULT_THEME = "gputui-dark"
_COLORS = (
    "primary",
    "secondary",
    "accent",
    "foreground",
    "background",
    "surface",
    "panel",
    "success",
    "warning",
    "error",
)
VARIABLES = (
    "muted",
    "faint",
    "rule",
    "best",
    "row-cursor",
    "cell-cursor",
    "cell-cursor-text",
    "alert",
    "alert-text",
    "state-running",
    "state-waiting",
    "state-done",
    "state-failed",
    "state-stopped",
)
_KEYS = ("name", "dark", "ansi", "colors", "variables")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def shipped_folder() -> Path:
    """Return the folder of the shipped themes: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def load_themes(folders: Iterable[Path]) -> tuple[dict[str, Theme], list[str]]:
    """Return the themes of all folders by name, a later folder winning, and one sentence for each file that is unusable."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            try:
                theme = parse_theme(tomllib.loads(path.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError) as error:
                problems.append(f"{path.name}: {error}")
            else:
                themes[theme.name] = theme
    return themes, problems


def parse_theme(document: Mapping[str, Any]) -> Theme:
    """Return the theme a TOML document describes. Raises ValueError naming everything that is wrong with it."""
    problems = [f"unknown key {key!r}" for key in document if key not in _KEYS]
    name = document.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append("name must be lower-case letters, digits and dashes")
    flags = {key: document.get(key, default) for key, default in (("dark", True), ("ansi", False))}
    problems += [f"{key} must be true or false" for key, value in flags.items() if not isinstance(value, bool)]
    colors = _colors(document, "colors", _COLORS, problems)
    variables = _colors(document, "variables", VARIABLES, problems)
    if problems:
        raise ValueError("; ".join(problems))
    if flags["ansi"]:  # Textual's own style sheets expect these of such a theme
        variables = {**BUILTIN_THEMES["ansi-dark"].variables, **variables}
    return Theme(name=str(name), variables=variables, **flags, **colors)  # type: ignore[arg-type]


def theme_note(theme: Theme) -> str:
    """Return a word on a theme for the list to choose from."""
    if theme.ansi:
        return "the terminal's own colours"
    return "dark" if theme.dark else "light"


def fallback_variables(theme: Theme) -> dict[str, str]:
    """Return our variables for a theme that does not set them, made from the colours every theme has."""
    text = theme.foreground or ("#d7dde4" if theme.dark else "#1d252d")
    accent = theme.accent or theme.primary
    panel = theme.panel or theme.surface or ("#1d242d" if theme.dark else "#e7e6df")
    under = theme.background or ("#11151a" if theme.dark else "#fbfaf7")
    waiting, failed, running = (
        theme.warning or theme.primary,
        theme.error or theme.primary,
        theme.success or theme.primary,
    )
    return {
        "muted": text if theme.ansi else f"{text} 70%",
        "faint": text if theme.ansi else f"{text} 45%",
        "rule": text if theme.ansi else f"{text} 20%",
        "best": accent,
        "row-cursor": panel,
        "cell-cursor": accent,
        "cell-cursor-text": "ansi_black" if theme.ansi else under,
        "alert": panel,
        "alert-text": failed,
        "state-running": running,
        "state-waiting": waiting,
        "state-done": running,
        "state-failed": failed,
        "state-stopped": text,
    }


def _colors(document: Mapping[str, Any], table: str, known: Iterable[str], problems: list[str]) -> dict[str, str]:
    values = document.get(table, {})
    if not isinstance(values, dict):
        problems.append(f"[{table}] must be a table")
        return {}
    allowed = set(known)
    found: dict[str, str] = {}
    for key, value in values.items():
        if key not in allowed:
            problems.append(f"{table}.{key} is not one of {', '.join(sorted(allowed))}")
        elif not isinstance(value, str) or not _is_color(value):
            problems.append(f"{table}.{key} is not a colour")
        else:
            found[key] = value
    if table == "colors" and "primary" not in values:
        problems.append("colors.primary is missing")
    return found


def _is_color(text: str) -> bool:
    try:
        Color.parse(text)
    except ColorParseError:
        return False
    return True
