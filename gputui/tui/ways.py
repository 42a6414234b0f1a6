"""How keys are written, in the sentences that name them too, the user's own ones where there are any."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.keys import key_to_character

from gputui.tui import bindings

# For a command that the core names: the key of the page, none where it works everywhere, and the key on it.
_KEYS = {
    "gputui auth login": ("go.providers", "providers.connect"),
    "gputui jobs stop": ("go.jobs", "jobs.stop"),
    "gputui machines terminate": ("go.machines", "machines.terminate"),
    "gputui agent run": (None, "app.guard"),
}
_COMMAND = re.compile(rf"\b([Rr])un: ({'|'.join(_KEYS)})\b(?: [^\s,;:)]*[^\s,;:).])?")
_BINDINGS = {
    binding.id: binding for table in bindings.TABLES for binding in table if isinstance(binding, Binding) and binding.id
}
_NAMED = re.compile(r"\{([a-z]+\.[a-z-]+)\}")
_FIRST_KEYS = {ident: binding.key.partition(",")[0] for ident, binding in _BINDINGS.items()}
_WORDS = {"⏎": "enter"}


def key_display(app: App[Any], binding: Binding) -> str:
    """Return how a key is written. Where a field takes the character that the table shows, another key is shown."""
    if binding.key_display and len(binding.key_display) == 1 and binding.key != _FIRST_KEYS.get(binding.id or ""):
        binding = replace(binding, key_display=None)
    written = app.get_key_display(binding)
    return _WORDS.get(written, written)


def key_of(app: App[Any], ident: str, *, in_field: bool = False) -> str:
    """Return how the first key of a binding is written, the user's own one where there is one.

    In a field a key that writes something is none; "" when there is no other one.
    """
    binding, own = _BINDINGS[ident], app._keymap.get(ident)
    if own is not None:
        binding = replace(binding, key=own, key_display=None)
    keys = [key for key in binding.key.split(",") if not (in_field and _writes(key))]
    return key_display(app, replace(binding, key=keys[0])) if keys else ""


def _writes(key: str) -> bool:
    character = key_to_character(key)
    return character is not None and character.isprintable()


def with_keys(app: App[Any], text: str) -> str:
    """Return a sentence of ours with the key of each binding whose id it names: "{ask.refresh} asks again."."""
    return _NAMED.sub(lambda found: key_of(app, found[1]), text)


def in_keys(app: App[Any], text: str, *, here: str | None = None) -> str:
    """Return a sentence of the core with keys to press for the commands that it names.

    `here` is a binding that does it on this page.
    """

    def way(found: re.Match[str]) -> str:
        page, ident = _KEYS[found[2]]
        if here is not None or page is None:
            keys = key_of(app, here or ident)
        else:
            keys = f"{key_of(app, page)}, then {key_of(app, ident)} on its line"
        # A command at the end of a sentence has no full stop, which would be taken for part of it.
        stop = "." if found.end() == len(text) and text[0].isupper() else ""
        return f"{'P' if found[1] == 'R' else 'p'}ress {keys}{stop}"

    return _COMMAND.sub(way, text)
