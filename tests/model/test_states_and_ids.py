from __future__ import annotations

import pytest

from gputui.model.ids import Ids, encode_ulid
from gputui.model.states import (
    FINAL_JOB_STATUSES,
    IllegalMove,
    JobStatus,
    PlacementState,
    allowed_placement_moves,
    check_job_move,
    check_placement_move,
)


class FixedClock:
    def __init__(self, now_ms: int) -> None:
        self.value = now_ms

    def now_ms(self) -> int:
        return self.value


def test_final_statuses_are_final() -> None:
    for final in FINAL_JOB_STATUSES:
        for other in set(JobStatus) - {final}:
            with pytest.raises(IllegalMove):
                check_job_move(final, other)


def test_no_placement_that_may_cost_money_can_end_unseen() -> None:
    """From any state in which a machine may exist, the only ways out are proof of absence or of a clean refusal."""
    for state in PlacementState:
        if state.may_bill:
            endings = {to for to in allowed_placement_moves(state) if to.is_final}
            assert endings <= {PlacementState.GONE, PlacementState.ABSENT, PlacementState.REFUSED}
    with pytest.raises(IllegalMove):
        check_placement_move(PlacementState.RUNNING, PlacementState.ABSENT)
    with pytest.raises(IllegalMove):
        check_placement_move(PlacementState.INTENDED, PlacementState.PROVISIONING)


def test_every_state_can_reach_an_end() -> None:
    for start in PlacementState:
        seen, queue = {start}, [start]
        while queue:
            for to in allowed_placement_moves(queue.pop()):
                if to not in seen:
                    seen.add(to)
                    queue.append(to)
        assert any(state.is_final for state in seen)


def test_ids_sort_by_time_even_when_the_clock_goes_back() -> None:
    clock = FixedClock(1_000_000)
    ids = Ids(clock, entropy=lambda n: b"\x00" * n)
    first = ids.ulid()
    clock.value = 2_000_000
    second = ids.ulid()
    clock.value = 500_000
    third = ids.ulid()
    assert first < second < third
    assert len(first) == 26
    assert first == first.lower()


def test_ids_made_in_one_millisecond_sort_as_they_were_made() -> None:
    falling = iter(range(255, 0, -1))
    ids = Ids(FixedClock(1_000_000), entropy=lambda n: bytes([next(falling)]) * n)
    made = [ids.ulid() for _ in range(100)]
    assert made == sorted(made)


def test_a_ulid_is_valid_in_a_hostname() -> None:
    assert encode_ulid(2**48 - 1, b"\xff" * 10) == "7" + "z" * 25
    with pytest.raises(ValueError, match="10 bytes"):
        encode_ulid(0, b"")
