"""How keys are written, and which of them do here what a sentence of the core names a command of the shell for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from textual.app import App
from textual.binding import Binding

from gputui.tui import bindings

# The key of the page, none where it works everywhere, and the key on it.
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
_FIRST_KEYS = {ident: binding.key.partition(",")[0] for ident, binding in _BINDINGS.items()}
_WORDS = {"⏎": "enter"}


def key_display(app: App[Any], binding: Binding) -> str:
    """Return how a key is written. Where a field takes the character that the table shows, another key is shown."""
    if binding.key_display and len(binding.key_display) == 1 and binding.key != _FIRST_KEYS.get(binding.id or ""):
        binding = replace(binding, key_display=None)
    written = app.get_key_display(binding)
    return _WORDS.get(written, written)


def key_of(app: App[Any], ident: str) -> str:
    """Return how the first key of a binding is written, the user's own one where there is one."""
    binding, own = _BINDINGS[ident], app._keymap.get(ident)
    if own is not None:
        binding = replace(binding, key=own, key_display=None)
    return key_display(app, replace(binding, key=binding.key.partition(",")[0]))


def in_keys(app: App[Any], text: str, *, here: str | None = None) -> str:
    """Return a sentence with keys to press for the commands that it names; `here` is a binding that does it on this page."""

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
