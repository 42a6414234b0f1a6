"""Orders that volumes be made or deleted: what a view wishes, and how far the agent is with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gputui.model.states import IllegalMove
from gputui.model.units import MicroUsd, Ms


class VolumeWish(StrEnum):
    """What is to be done."""

    CREATE = "create"
    DELETE = "delete"


class VolumeOrderState(StrEnum):
    """How far an order is. `intended` is committed before any call leaves; in `outcome-unknown` a volume may exist unseen."""

    INTENDED = "intended"
    REQUESTING = "requesting"
    OUTCOME_UNKNOWN = "outcome-unknown"
    DELETING = "deleting"
    MADE = "made"
    GONE = "gone"
    REFUSED = "refused"
    ABSENT = "absent"

    @property
    def is_final(self) -> bool:
        return self not in _MOVES


_S = VolumeOrderState
_MOVES: dict[VolumeOrderState, frozenset[VolumeOrderState]] = {
    _S.INTENDED: frozenset({_S.REQUESTING, _S.DELETING, _S.REFUSED}),
    _S.REQUESTING: frozenset({_S.MADE, _S.OUTCOME_UNKNOWN, _S.REFUSED}),
    _S.OUTCOME_UNKNOWN: frozenset({_S.MADE, _S.ABSENT}),
    _S.DELETING: frozenset({_S.GONE, _S.REFUSED}),
}


@dataclass(frozen=True, slots=True)
class VolumeOrder:
    """One wish about one volume, as stored.

    `name` is what the user called it, `label` what it is called at the provider and looked for after a lost reply.
    `volume_id` is known from the start of a deletion and from the end of a creation, `price` from there on where the
    provider tells it; before that it is the one that was shown. `error` is what stands in the way now, how a refused or lost
    order ended, or that the volume is dearer than shown. `key_print` is a
    fingerprint of the key the order was given with: another one may be of an account that does not have the volume.
    """

    id: str
    provider: str
    wish: VolumeWish
    state: VolumeOrderState
    name: str
    label: str
    created_at_ms: Ms
    size_gib: int | None = None
    region: str | None = None
    kind: str | None = None
    volume_id: str | None = None
    price_micro_usd_per_month: MicroUsd | None = None
    error: str | None = None
    error_code: str | None = None
    key_print: str | None = None
    requested_at_ms: Ms | None = None
    ended_at_ms: Ms | None = None

    @property
    def is_over(self) -> bool:
        return self.state.is_final

    @property
    def is_done(self) -> bool:
        """True when what was wished for is so."""
        return self.state in (VolumeOrderState.MADE, VolumeOrderState.GONE)


def check_volume_order_move(current: VolumeOrderState, to: VolumeOrderState) -> None:
    """Raise IllegalMove unless an order may go from `current` to `to`. Staying is allowed while it is not over."""
    if to not in _MOVES.get(current, frozenset()) | ({current} if not current.is_final else set()):
        raise IllegalMove(f"volume order: {current} -> {to}")
