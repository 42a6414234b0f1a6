"""The promise over seeded histories: no fault leaks a machine or pays twice. And proof that a broken promise is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gputui.sim.serve import PROVIDER_APPS
from gputui.sim.torture.mutants import MUTANTS, Mutant, catch
from gputui.sim.torture.plan import make_plan
from gputui.sim.torture.run import play_seed
from gputui.sim.torture.tell import replay_command

SEEDS = 200
AT_ONCE = 10
# Histories that once found something.
LEARNT = (
    10273,  # a machine was listed after its end
    10324,
    11185,  # a time limit passed while no agent was there and the machine could not be reached
    30539,  # one machine vanished before it was listed, and the next was listed without its price
    30826,  # each new agent waited for a machine that was off as long as the first
    30890,  # the price of an adopted machine was told later, and was another than the offer's
    31068,  # a provider's failures, one now and one then, made the wait for a lost machine begin again
    31088,  # the most of a state that ended while no agent was there was counted twice
    41071,  # a machine died while it was being deleted
    42012,  # a machine was listed for a moment in which nobody looked
    42036,  # a clock that was moved made the wait for a machine that was off begin again
    43753,  # two pods whose orders got lost ended themselves while no agent was there
    44126,  # an agent that had been replaced wrote on in a log
    45494,  # a machine that had ended itself was listed again
    48160,  # a machine that went off before its shell first answered was waited for as long as one that starts
    46557,  # a pod of which nobody had asked for the log was taken for one that had printed nothing
    51740,  # a rented machine was off for longer than a job's may be
    62481,  # an agent was taken over from long before its own return
    62911,  # a pod's persistent volume is billed, and not in the cost that it tells
    70820,  # the same of its container's disk
    90346,  # an order got lost while the clock was wrong
)
QUICK_MUTANTS = {
    "intent-after",
    "blind-retry",
    "adopt-any",
    "no-ceiling",
    "one-sighting",
    "any-answer",
    "no-uncertainty",
    "log-off-by-one",
}


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_fault_leaks_a_machine_or_pays_twice(first: int) -> None:
    broken = {
        replay_command(outcome.seed, None): outcome.violations
        for outcome in map(play_seed, range(first, first + AT_ONCE))
        if outcome.violations
    }
    assert broken == {}


@pytest.mark.parametrize("seed", LEARNT)
def test_what_was_learnt_is_kept(seed: int) -> None:
    assert play_seed(seed).violations == []


def test_every_provider_is_among_them() -> None:
    played = {provider for seed in range(SEEDS) for provider in make_plan(seed).providers}
    assert played == set(PROVIDER_APPS)


def test_a_seed_is_the_same_history_in_any_process(tmp_path: Path) -> None:
    told = []
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "gputui.sim.torture", "--seed", "46", "--seeds", "4", "--timeline"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told.append(subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True).stdout)
    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 100


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.name in QUICK_MUTANTS], ids=lambda m: m.name)
def test_a_bug_made_on_purpose_is_caught(mutant: Mutant) -> None:
    assert catch(mutant, searched=25) is not None, f"search anew: python -m gputui.sim.torture.mutants {mutant.name}"


def test_a_mutant_leaves_the_product_as_it_was() -> None:
    for mutant in MUTANTS:
        before = [getattr(owner, name) for owner, name, _ in mutant.patches()]
        with mutant.at_work():
            assert [getattr(owner, name) for owner, name, _ in mutant.patches()] != before
        assert [getattr(owner, name) for owner, name, _ in mutant.patches()] == before
