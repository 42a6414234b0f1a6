"""What is asked of Vast.ai, and how often each may be asked.

Limits hold per endpoint and account: a least time between two calls. Sources: the thresholds in the 429 examples of Vast.ai's
OpenAPI document (2026-08); for the search, which shows none, what a public client found to work (0.3 s apart, about five at
once). A little is added to each, because requests do not arrive as evenly as they leave. As the limits are apart from each
other, watching machines can never use up what ending them needs.
"""

from __future__ import annotations

from gputui.providers.pacing import Pace

SEARCH = "list offers"
GPU_NAMES = "list GPU models"
ORDER = "order a machine"
LIST, CHECK = "list machines", "check the key"
READ = "read a machine"
STOP, START, LABEL = "stop a machine", "start a machine", "label a machine"
END = "end a machine"
ACCOUNT = "read the account"
LIST_KEYS, ADD_KEY, DELETE_KEY = "list SSH keys", "add an SSH key", "delete an SSH key"
ATTACH_KEY = "give a machine an SSH key"
SEARCH_VOLUMES, LIST_VOLUMES = "look for room for a volume", "list volumes"
MAKE_VOLUME, DELETE_VOLUME = "create a volume", "delete a volume"
CHARGES = "list charges"

# The group of a key's permissions that each belongs to. Source: Vast.ai docs, permissions page (2026-08).
PERMISSIONS = {
    **dict.fromkeys((SEARCH, GPU_NAMES, SEARCH_VOLUMES), "misc"),
    **dict.fromkeys((LIST, CHECK, READ, LIST_VOLUMES), "instance_read"),
    **dict.fromkeys((ORDER, STOP, START, LABEL, END, ATTACH_KEY, MAKE_VOLUME, DELETE_VOLUME), "instance_write"),
    **dict.fromkeys((ACCOUNT, LIST_KEYS), "user_read"),
    **dict.fromkeys((ADD_KEY, DELETE_KEY), "user_write"),
    CHARGES: "billing_read",
}

SPARE_S = 0.2


def _pace(every_s: float, *operations: str) -> Pace:
    return Pace(operations[0], every_s=every_s + SPARE_S, operations=frozenset(operations))


PACES = (
    Pace(SEARCH, every_s=0.35, burst=3, operations=frozenset({SEARCH})),
    _pace(4.5, ORDER),
    _pace(1.0, LIST, CHECK),
    _pace(2.0, READ),
    _pace(1.0, STOP, START, LABEL),
    _pace(3.0, END),
    _pace(1.0, ADD_KEY),
    _pace(1.0, ATTACH_KEY),
    _pace(5.5, SEARCH_VOLUMES),
    _pace(5.5, LIST_VOLUMES),
    _pace(5.5, DELETE_VOLUME),
    _pace(1.0, CHARGES),
)
