"""What the plans may turn: the common faults, grouped by what they disturb, and every provider's own knobs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from gputui.sim.faults import COMMON_KNOBS, Kind, Knob
from gputui.sim.serve import build_app
from gputui.sim.world import World

LOST_BEFORE = ("connect_error", "cut_before", "timeout_before", "rate_limited", "rate_limited_silent", "server_error",
               "bad_gateway", "unavailable", "html_error", "unauthorized")  # fmt: skip
LOST_AFTER = ("lost_reply", "timeout_after", "server_error_after_commit", "html_ok", "truncated_json")
ODD_ANSWERS = ("slow", "extra_fields", "unknown_state")
OUTAGES = ("connect_error", "timeout_before", "unavailable", "html_error", "rate_limited", "unauthorized")
BIRTHS = ("no_capacity", "no_capacity_after_accept", "slow_provisioning", "provisioning_error", "ssh_never", "dies")
RELEASING = frozenset({"runpod", "vastai"})
"""Providers that stop a machine and give its hardware to somebody else."""

# Knobs of providers that say what a simulator is for, rather than what its provider may do.
_NOT_MOODS = frozenset(
    {
        "runpod_key_scope",  # a key that may do nothing
        "runpod_offline_shows",  # see stage.py
    }
)


@dataclass(frozen=True, slots=True)
class Operations:
    """What a provider's simulator calls the requests that matter most, as patterns."""

    create: str
    end: str
    look: str
    listing: str


OPERATIONS = {
    "huddle": Operations("deploy", "delete_deployment", "get_deployment", "list_deployments"),
    "runpod": Operations("create_pod", "delete_pod", "get_pod", "list_pods"),
    "lambda": Operations("launch", "terminate", "get_instance", "list_instances"),
    "tensordock": Operations("create", "delete_instance", "get_instance", "list_instances"),
    "vastai": Operations("create_instance", "destroy_instance", "get_instance", "list_instances"),
}


class _NoClock:
    def now_ms(self) -> int:
        return 0


@functools.cache
def own_knobs(provider: str) -> tuple[Knob, ...]:
    """Return the chances, flags and choices that only this provider has, in order of their names."""
    world = World(_NoClock(), seed=0)
    build_app(world, [provider])
    common = {knob.name for knob in COMMON_KNOBS}
    described = world.faults.describe()
    return tuple(
        Knob(name, Kind(facts["kind"]), (), facts["doc"], tuple(facts.get("choices", ())))
        for name, facts in described.items()
        if name not in common | _NOT_MOODS and facts["kind"] in (Kind.CHANCE, Kind.FLAG, Kind.CHOICE)
    )
