"""The states a simulated machine can be in, whatever its provider calls them."""

from __future__ import annotations

from enum import StrEnum


class Life(StrEnum):
    """A machine's state. DELETED and NO_CAPACITY are the end; ERROR, OFFLINE and RELEASED machines still exist.

    A RELEASED machine is off and has given its hardware back; its disk remains.
    """

    ORDERED = "ordered"
    PROVISIONING = "provisioning"
    RUNNING = "running"
    OFFLINE = "offline"
    RELEASED = "released"
    ERROR = "error"
    NO_CAPACITY = "no_capacity"
    DELETING = "deleting"
    DELETED = "deleted"


ENDED = frozenset({Life.DELETED, Life.NO_CAPACITY})
