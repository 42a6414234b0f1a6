"""Sortable ids (ULID: 48 bits of time, 80 of randomness), made from a clock and a source of randomness handed in."""

from __future__ import annotations

import os
from collections.abc import Callable

from gputui.model.clock import Clock

ULID_LENGTH = 26
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32 in lower case: valid in a hostname


def encode_ulid(now_ms: int, entropy: bytes) -> str:
    """Return 26 lower-case characters that sort by time. `entropy` is 10 bytes."""
    if len(entropy) != 10:
        raise ValueError("a ULID takes exactly 10 bytes of entropy")
    number = (now_ms & (2**48 - 1)) << 80 | int.from_bytes(entropy, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


class Ids:
    """Makes ids that never repeat; within one process each sorts after those made before it."""

    def __init__(self, clock: Clock, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._last_ms = 0

    def ulid(self) -> str:
        """Return a new id, which takes the next free millisecond: lists are in the order of ids, so of two jobs made in
        one millisecond, or after the clock was set back, the newer one must not sort at random."""
        self._last_ms = max(self._last_ms + 1, self._clock.now_ms())
        return encode_ulid(self._last_ms, self._entropy(10))

    def token(self, length: int = 16) -> str:
        """Return `length` random hexadecimal characters (a nonce, not a secret key)."""
        return self._entropy((length + 1) // 2).hex()[:length]


def short_id(ulid: str) -> str:
    """Return the part of an id that people read and type: its last six characters."""
    return ulid[-6:]
