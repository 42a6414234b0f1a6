"""What a provider key may look like, and how much of one may be shown."""

from __future__ import annotations

from gputui.model.errors import UsageError

SHOWN_CHARACTERS = 4
_SHORTEST_SHOWN = 12


def check_key_text(provider: str, key: str) -> str:
    """Return a key fit for a header.

    Raises UsageError for one with spaces, line breaks or non-ASCII characters inside, without showing it.
    """
    cleaned = key.strip()
    if not cleaned:
        raise UsageError(f"The {provider} key is empty.", hint=f"Run: gputui auth login {provider}")
    if any(character.isspace() or not 33 <= ord(character) <= 126 for character in cleaned):
        raise UsageError(
            f"The {provider} key has a space, a line break or a character that no key has; it was probably pasted with more.",
            hint=f"Run: gputui auth login {provider}, and paste the key alone.",
        )
    return cleaned


def last_characters(key: str) -> str:
    """Return the last four characters of a key, enough to tell two apart; empty when the key is too short to show any."""
    return key[-SHOWN_CHARACTERS:] if len(key) >= _SHORTEST_SHOWN else ""
