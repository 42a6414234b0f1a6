"""Bugs made on purpose: the simulation must catch each of them. `python -m gputui.sim.torture.mutants` tells which seed does.

A mutant changes one thing that keeps the promise, for as long as its block is open. `hint` is a seed that is known to catch
it; the search begins there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeAlias

import click

from gputui.core import ledger, metering, ordering, termination, workload
from gputui.core.accounts import Accounts
from gputui.core.endings import Patience, PriceGuard
from gputui.core.jobs import JobDriver
from gputui.core.ordering import Ordered, Orderer
from gputui.core.runner.base import ShellRunner
from gputui.core.runner.logfile import JobLog
from gputui.core.runner.protocol import exit_outcome
from gputui.core.runner.vm import POLL_LIMIT_BYTES
from gputui.core.tenancy import Tenancy
from gputui.core.termination import Terminator
from gputui.core.watch import MachineWatch
from gputui.model.errors import ProviderError
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import CreateRequest
from gputui.sim.torture.run import play_seed
from gputui.store import agents as agent_store
from gputui.store.jobs import load_job

SEARCHED = 400

Patches: TypeAlias = "Sequence[tuple[Any, str, Any]]"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: its name, what it does, the check that must notice, and the function that says what it puts in whose place.

    A patch is (owner, attribute, what is wrong).
    """

    name: str
    says: str
    check: str
    patches: Callable[[], Patches]
    hint: int = 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Have the bug in the product while the block is open."""
        with contextlib.ExitStack() as stack:
            for owner, name, wrong in self.patches():
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, wrong)
            yield


@dataclass(frozen=True, slots=True)
class Caught:
    """The seed that caught a mutant, how many had been played by then, and the first thing that did not hold."""

    seed: int
    played: int
    violation: str


def catch(mutant: Mutant, *, searched: int = SEARCHED) -> Caught | None:
    """Play seeds from the mutant's hint on until one catches it; None when none of so many does."""
    with mutant.at_work():
        for played, seed in enumerate(range(mutant.hint, mutant.hint + searched), 1):
            noticed = [words for words in play_seed(seed).violations if words.partition(":")[0] == mutant.check]
            if noticed:
                return Caught(seed, played, noticed[0].splitlines()[0])
    return None


def _intent_after_the_order() -> Patches:
    order = Orderer.order

    async def wrong(self: Orderer, placement: Any) -> Ordered:
        if placement.state is not PlacementState.INTENDED:
            return await order(self, placement)
        refusal, machine = None, None
        try:
            machine = await self._create(placement, resend=False)
        except ProviderError as error:
            refusal = error
        with self._crew.journal.entry() as entry:
            now_ms = entry.now_ms
            placement = entry.move_placement(placement, PlacementState.REQUESTING, "asked", requested_at_ms=now_ms)
        if refusal is not None or machine is None:
            return Ordered(self._refused(placement, refusal or ProviderError("no machine")), None)
        return self._accepted(placement, machine, "ordered")

    return [(Orderer, "order", wrong)]


def _no_look_up() -> Patches:
    async def wrong(self: Orderer, client: Any, placement: Any) -> None:
        return None

    return [(Orderer, "_look", wrong), (ordering, "RESENDS", 0)]


def _blind_second_order() -> Patches:
    async def wrong(self: Orderer, placement: Any, *, may_resend: bool) -> Ordered:
        return self._accepted(placement, await self._create(placement, resend=True), "asked again")

    return [(Orderer, "_find_out", wrong)]


def _order_again() -> Patches:
    order = Orderer.order

    async def wrong(self: Orderer, placement: Any) -> Ordered:
        again = placement.state is PlacementState.REQUESTING
        return await (self._request(placement) if again else order(self, placement))

    return [(Orderer, "order", wrong)]


def _another_key_each_time() -> Patches:
    numbers = count()

    def wrong(**values: Any) -> Any:
        return CreateRequest(**{**values, "idempotency_key": f"{values['idempotency_key']}-{next(numbers)}"})

    return [(ordering, "CreateRequest", wrong)]


def _adopt_any_machine() -> Patches:
    async def wrong(self: Orderer, client: Any, placement: Any) -> Any:
        return next(iter(await client.list_machines()), None)

    return [(Orderer, "_look", wrong)]


def _no_price_ceiling() -> Patches:
    def wrong(self: Any, machine: Any) -> None:
        return None

    return [(Tenancy, "_too_dear", wrong), (PriceGuard, "check", wrong)]


def _one_sighting_is_proof() -> Patches:
    return [(termination, "SIGHTINGS_NEEDED", 1)]


def _any_answer_ends_a_machine() -> Patches:
    async def wrong(self: Terminator) -> int:
        with contextlib.suppress(ProviderError, TimeoutError):
            await self._ask_once()
        return self._clock.now_ms()

    return [(Terminator, "until_gone", wrong)]


def _accepted_is_gone() -> Patches:
    async def wrong(self: Terminator) -> int:
        while not await self._try(self._ask_once(), "delete"):  # noqa: ASYNC110
            await asyncio.sleep(5)
        return self._clock.now_ms()

    return [(Terminator, "until_gone", wrong)]


def _silence_is_gone() -> Patches:
    is_absent = Terminator._is_absent

    async def wrong(self: Terminator) -> bool:
        return await is_absent(self) is not False

    return [(Terminator, "_is_absent", wrong)]


def _an_outage_is_a_death() -> Patches:
    say = MachineWatch._say

    def wrong(self: MachineWatch, sentence: str) -> None:
        self._misses += 1
        say(self, sentence)

    return [(MachineWatch, "_say", wrong)]


def _no_uncertainty() -> Patches:
    cost_range = metering.cost_range

    def wrong(interval: Any, *, now_ms: int) -> tuple[int, int]:
        high = cost_range(interval, now_ms=now_ms)[1]
        return high, high

    return [(metering, "cost_range", wrong), (ledger, "cost_range", wrong)]


def _boot_is_free() -> Patches:
    return [(ledger, "boot_is_free", lambda rule: True)]


def _lost_orders_are_free() -> Patches:
    return [(ledger, "book_lost_order", lambda *facts, **more: None)]


def _every_agent_waits_anew() -> Patches:
    return [(Patience, "_keep", lambda self, spent_ms: setattr(self, "_spent_ms", spent_ms))]


def _log_off_by_one() -> Patches:
    remote_offset = JobLog.remote_offset

    def wrong(self: JobLog, placement_id: str) -> int:
        return remote_offset(self, placement_id) + 1

    return [(JobLog, "remote_offset", wrong)]


def _log_is_not_cut() -> Patches:
    return [(os, "truncate", lambda path, size: None)]


def _deaf_after_a_takeover() -> Patches:
    init = JobDriver.__init__

    class Deaf(asyncio.Event):
        def set(self) -> None:
            return None

    def wrong(self: JobDriver, crew: Any, job_id: str, stop: asyncio.Event) -> None:
        job = load_job(crew.store, job_id)
        init(self, crew, job_id, stop if job is None or job.stop_requested_at_ms is None else Deaf())

    return [(JobDriver, "__init__", wrong)]


def _lease_is_not_renewed() -> Patches:
    async def wrong(self: ShellRunner, offset: int) -> Any:
        return await self._harness.poll(offset, limit=POLL_LIMIT_BYTES, lease_s=0)

    return [(ShellRunner, "poll", wrong)]


def _every_exit_is_success() -> Patches:
    def wrong(reply: Any) -> Any:
        outcome = exit_outcome(reply)
        return outcome and replace(outcome, status=JobStatus.COMPLETED, exit_code=0, error=None, error_code=None)

    return [(workload, "exit_outcome", wrong)]


def _replaced_agents_go_on() -> Patches:
    return [(agent_store, "beat", lambda store, epoch, **facts: True)]


def _keys_for_fingerprints() -> Patches:
    def wrong(self: Accounts) -> dict[str, str]:
        found = {name: self._key(name) for name in self.names()}
        return {name: key.value for name, key in found.items() if key is not None}

    return [(Accounts, "fingerprints", wrong)]


MUTANTS: tuple[Mutant, ...] = (
    Mutant("intent-after", "the order leaves before it is written down", "once", _intent_after_the_order, hint=4),
    Mutant("no-look-up", "nobody looks whether a lost order was carried out", "leak", _no_look_up, hint=4),
    Mutant("blind-retry", "a lost order is sent again without a look", "once", _blind_second_order, hint=44),
    Mutant("retry-after-crash", "an order that a crash cut short is sent again", "once", _order_again, hint=879),
    Mutant("fresh-key", "each sending of an order has its own key", "once", _another_key_each_time, hint=199),
    Mutant("adopt-any", "a machine is adopted whatever its label", "guests", _adopt_any_machine, hint=74),
    Mutant("no-ceiling", "no price is compared with the ceiling", "too_dear", _no_price_ceiling, hint=7),
    Mutant("one-sighting", "missing once is gone", "prompt_end", _one_sighting_is_proof, hint=17),
    Mutant("any-answer", "any answer to a deletion is the end", "leak", _any_answer_ends_a_machine, hint=16),
    Mutant("final-early", "a deletion that was accepted is the end", "prompt_end", _accepted_is_gone, hint=16),
    Mutant("silence-is-gone", "who cannot be asked has no machine", "prompt_end", _silence_is_gone, hint=43),
    Mutant("outage-is-death", "failing to ask counts as missing", "reason", _an_outage_is_a_death, hint=20),
    Mutant("no-uncertainty", "the most it can cost is what it costs", "money", _no_uncertainty, hint=0),
    Mutant("free-boot", "no provider bills a boot", "money", _boot_is_free, hint=5),
    Mutant("free-lost-orders", "what nobody saw cost nothing", "money", _lost_orders_are_free, hint=42012),
    Mutant("endless-patience", "each agent waits as long", "prompt_end", _every_agent_waits_anew, hint=42036),
    Mutant("log-off-by-one", "the log is read on one byte later", "log", _log_off_by_one, hint=0),
    Mutant("log-doubled", "what follows the last cursor is kept twice", "log", _log_is_not_cut, hint=3457),
    Mutant("deaf-to-stops", "the next agent ignores earlier stops", "prompt_end", _deaf_after_a_takeover, hint=1183),
    Mutant("no-lease", "polls do not renew the lease", "reason", _lease_is_not_renewed, hint=22),
    Mutant("always-success", "every exit code is success", "outcome", _every_exit_is_success, hint=1),
    Mutant("two-agents", "an agent that was replaced goes on", "agents", _replaced_agents_go_on, hint=23),
    Mutant("keys-in-store", "keys are stored as their fingerprints", "secrets", _keys_for_fingerprints, hint=0),
)


@click.command()
@click.option("--searched", type=click.IntRange(1), default=SEARCHED, help="How many seeds may be played for each.")
@click.argument("names", nargs=-1)
def main(searched: int, names: tuple[str, ...]) -> None:
    """Tell for every mutant (or those named) which seed catches it. Exits with 1 when one is not caught."""
    missed = 0
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        caught = catch(mutant, searched=searched)
        missed += caught is None
        found = f"seed {caught.seed:<6} ({caught.played} played)  {caught.violation}" if caught else "NOT CAUGHT"
        click.echo(f"{mutant.name:<18} {found}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
