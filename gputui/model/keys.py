"""What a provider key may look like, and how much of one may be shown."""

from __future__ import annotations

import re

from gputui.model.errors import UsageError

SHOWN_CHARACTERS = 4
_SHORTEST_SHOWN = 12
_QUOTES = "\"'`“”‘’«»"
_ASSIGNMENT = re.compile(r"(export\s+)?[A-Z0-9_]*(KEY|TOKEN)[A-Z0-9_]*\s*=")


def check_key_text(provider: str, key: str) -> str:
    """Return a key fit for a header; white space around it, as the line break that ends a file, is taken off.

    Raises UsageError for one that was pasted with more than the key, naming what is too much and never the key.
    """
    cleaned = key.strip()
    if not cleaned:
        raise UsageError("The key is empty.", hint=f"Run: gputui auth login {provider}")
    if fault := _fault_in(cleaned):
        raise UsageError(f"The key {fault}.", hint=f"To give the key alone, run: gputui auth login {provider}")
    return cleaned


def _fault_in(key: str) -> str | None:
    """Return what is wrong with a key, as the end of a sentence; None when it can be one."""
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        return "is in quotes, which would be sent along"
    if key.lower().startswith(("bearer ", "authorization:", "x-api-key:")):
        return "begins with the name of a header or its scheme (such as Bearer)"
    if _ASSIGNMENT.match(key):
        return "is a whole line of a shell or .env file: NAME=…"
    if "\n" in key or "\r" in key:
        return "has a line break in it"
    if any(character.isspace() for character in key):
        return "has a space in it"
    if not key.isascii():
        return "has a character in it that no key has (not ASCII)"
    if not key.isprintable():
        return "has a control character in it"
    return None


def last_characters(key: str) -> str:
    """Return the last four characters of a key, enough to tell two apart; empty when the key is too short to show any."""
    return key[-SHOWN_CHARACTERS:] if len(key) >= _SHORTEST_SHOWN else ""
