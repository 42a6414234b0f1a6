"""Keeping keys out of what a provider's answers are quoted with."""

from __future__ import annotations

import re
from collections.abc import Sequence

STRUCK_OUT = "[key]"
_WORD = re.compile(r"[A-Za-z0-9_\-]{8,}")


def strike_out(text: str, secrets: Sequence[str]) -> str:
    """Return text without the secrets, and without parts of them of eight characters or more, which some servers quote."""
    for secret in secrets:
        text = text.replace(secret, STRUCK_OUT)
        for word in set(_WORD.findall(text)):
            if word in secret:
                text = text.replace(word, STRUCK_OUT)
    return text
