"""What must hold after any run, whatever went wrong in it. Each check yields sentences, none when all is well.

The bounds (seconds of undisturbed time, see `Facts.disturbances`):

* A machine outlives the moment it is no longer needed (its command's end, the stop wish, its own death, the end of its time)
  by at most `LATE_S` and the time that its deletion takes, one that may recover by `HOST_GONE_S` more; its job is not final
  before the machine is gone.
* A job never has two machines alive at once, a placement never has two machines at all.
* The log and the money have modules of their own: `check_log`, `check_money`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from gputui.core.journal import LostRace
from gputui.core.supervisor import Replaced
from gputui.model.errors import StoreError
from gputui.model.states import IllegalMove, JobStatus, PlacementState, check_job_move, check_placement_move
from gputui.model.types import JobKind, JobSpec
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.torture.check_log import check_log
from gputui.sim.torture.check_money import check_money
from gputui.sim.torture.facts import LABEL, Facts, Told
from gputui.sim.torture.plan import Deed
from gputui.sim.torture.stage import SECRET

LATE_S = 240.0
# How a job may fail though nothing goes wrong: its own doing, or others of ours took what there was.
CALM_FAILURES = frozenset({"exit_code", "no_match", "no_capacity"})
# Lives of a machine that cannot be reached and that its provider does not call off, as it may yet recover (Lambda shows a
# broken one as "unhealthy"): it may cost money for that long.
HOST_GONE_S = 3600.0
MAY_RECOVER = {"vastai": frozenset({Life.OFFLINE}), "lambda": frozenset({Life.OFFLINE, Life.ERROR})}
# Lives of a rented machine that is off: what is on its disk is its user's, who alone may start it again or give it up. Vast.ai
# shows a broken one so, too.
OFF = frozenset({Life.OFFLINE, Life.RELEASED})
SHOWN_AS_OFF = {"vastai": OFF | {Life.ERROR}}
# Failures that say that a machine failed the job, and lives that a machine does not have when all is well.
LOSSES = frozenset({"machine_lost", "machine_failed", "rebooted", "lost"})
HURTS = frozenset({Life.ERROR, Life.OFFLINE, Life.RELEASED, Life.NO_CAPACITY})
# Stops that nobody wished: the job's own limits, kept by the agent or by the machine itself.
OWN_STOPS = frozenset({"max_duration", "ended_itself", "too_dear"})
Check = Callable[[Facts], Iterator[str]]


def violations(facts: Facts) -> list[str]:
    """Return a sentence for everything that does not hold, each beginning with the name of its check."""
    return [f"{check.__name__.removeprefix('check_')}: {sentence}" for check in CHECKS for sentence in check(facts)]


def check_leak(facts: Facts) -> Iterator[str]:
    """Nothing of ours is alive, and every machine belongs to an order that we know of."""
    labels = {placement.label for told in facts.jobs for placement in told.placements}
    for machine in facts.machines:
        if machine.is_alive(facts.now_ms):
            yield f"machine {machine.id} ({machine.label}) is alive at the end"
        if machine.label not in labels:
            yield f"machine {machine.id} has the label {machine.label}, which no placement has"


def check_once(facts: Facts) -> Iterator[str]:
    """No job has two machines at a time, no placement two ever, and no machine is ordered for what was never meant."""
    for told in facts.jobs:
        spans = []
        for placement in told.placements:
            machines = facts.machines_of(placement)
            if len(machines) > 1:
                yield f"placement {placement.attempt} of job {told.number} made {len(machines)} machines"
            spans += [(m.created_ms, facts.ended_ms(m), m.id) for m in machines]
            yield from _meant(facts, told, machines, placement.id)
        for (_, end_ms, first), (begin_ms, _, second) in pairwise(sorted(spans)):
            if begin_ms < end_ms:
                yield f"job {told.number} had machines {first} and {second} at once"


def _meant(facts: Facts, told: Told, machines: list[SimMachine], placement_id: str) -> Iterator[str]:
    """The intent, and that it is about to be sent, were on the disk before the machine was made."""
    sent = [
        facts.true_ms(event)
        for event in told.events
        if event.placement_id == placement_id and event.state_to == PlacementState.REQUESTING
    ]
    for machine in machines:
        if not sent or machine.created_ms < sent[0]:
            yield f"machine {machine.id} of job {told.number} was ordered before the order was written down"


def check_prompt_end(facts: Facts) -> Iterator[str]:
    """A machine goes soon after it is no longer needed, and its job is final only after that."""
    for told in facts.jobs:
        final_ms = next((facts.true_ms(e) for e in told.events if e.kind == "job" and _is_final(e.state_to)), None)
        wish_ms = next((facts.true_ms(e) for e in told.events if e.kind == "wish"), None)
        for placement in told.placements:
            for machine in facts.machines_of(placement):
                ended_ms = facts.ended_ms(machine)
                if final_ms is not None and final_ms < ended_ms:
                    yield f"job {told.number} was final {(ended_ms - final_ms) / 1000:.1f} s before its machine was gone"
                late_ms = max(
                    [
                        ended_ms - needless_ms - facts.disturbed_ms(needless_ms, ended_ms) - grace_ms
                        for needless_ms, grace_ms in _needless(facts, told, placement.id, machine, wish_ms)
                    ],
                    default=0,
                )
                if late_ms > 1000 * (LATE_S + _usual_s(facts)):
                    yield f"machine {machine.id} of job {told.number} went {late_ms / 1000:.0f} s late"
        last_ms = max([facts.ended_ms(m) for p in told.placements[-1:] for m in facts.machines_of(p)], default=None)
        if last_ms is not None and final_ms is not None and final_ms > last_ms:
            late_ms = final_ms - last_ms - facts.disturbed_ms(last_ms, final_ms)
            if late_ms > 1000 * (LATE_S + _usual_s(facts) + facts.knob("deleted_still_listed_s")):
                yield f"job {told.number} was final {late_ms / 1000:.0f} s after its last machine had gone"
        if wish_ms is not None and not told.report.job.status.is_final:
            yield f"the stop of job {told.number} came to nothing"


def _needless(
    facts: Facts, told: Told, placement_id: str, machine: SimMachine, wish_ms: int | None
) -> list[tuple[int, int]]:
    """Return each moment from which nobody had any use for a machine, with how long it may be hoped for nevertheless."""
    hopeful = MAY_RECOVER.get(machine.provider, frozenset())
    kept = SHOWN_AS_OFF.get(machine.provider, OFF) if told.plan.spec.kind is JobKind.MACHINE else frozenset()
    moments = [
        (at_ms, round(HOST_GONE_S * 1000) if life in hopeful else 0)
        for at_ms, life in machine.timeline
        if life in {Life.ERROR, Life.RELEASED, Life.OFFLINE} - kept
    ]
    if wish_ms is not None:
        moments.append((max(wish_ms, machine.created_ms), 0))
    placement = next(item for item in told.placements if item.id == placement_id)
    work = facts.work_on(machine, placement)
    quiet_ms = min([at_ms for at_ms, life in machine.timeline if life in hopeful], default=None)
    if work and work.ended_ms is not None and _can_be_known(facts, told, placement_id, work.ended_ms, quiet_ms):
        moments.append((work.ended_ms, 0))
    limit_s = told.plan.spec.max_duration_s
    if limit_s is not None and told.report.job.started_at_ms is not None:
        started = [facts.true_ms(e) for e in told.events if e.placement_id == placement_id and e.state_to == "running"]
        moments += [(at_ms + limit_s * 1000, 0) for at_ms in started[:1]]
    return moments


def _can_be_known(facts: Facts, told: Told, placement_id: str, ended_ms: int, quiet_ms: int | None) -> bool:
    """Say whether the end of a command was noticed, or could have been before its machine went out of reach (if it did)."""
    if quiet_ms is None or any(
        e.placement_id == placement_id and e.state_to == PlacementState.DRAINING for e in told.events
    ):
        return True
    return quiet_ms - ended_ms - facts.disturbed_ms(ended_ms, quiet_ms) > 1000 * _usual_s(facts)


def _usual_s(facts: Facts) -> float:
    """Return how long an end takes when all is well: the deletion itself, and how seldom and slowly everything is asked."""
    return facts.knob("delete_s") + 2 * facts.plan.poll_s + 2 * facts.plan.glance_s + 20 * facts.knob("latency_s")


def check_outcome(facts: Facts) -> Iterator[str]:
    """Every job is final, with an outcome that the world bears out."""
    for told in facts.jobs:
        job, plan = told.report.job, told.plan
        name = f"job {told.number}"
        wished = job.stop_requested_at_ms is not None
        match job.status:
            case JobStatus.COMPLETED:
                if job.exit_code != 0 or plan.exit_code != 0 or plan.spec.kind is JobKind.MACHINE:
                    yield f"{name} is completed with exit code {job.exit_code}, its command's is {plan.exit_code}"
                if not facts.work_was_done(told):
                    yield f"{name} is completed but its command never ran to its end"
            case JobStatus.STOPPED:
                if not wished and job.error_code not in OWN_STOPS:
                    yield f"{name} is stopped though nobody wished it"
                if job.error_code in OWN_STOPS and not _has_limit(plan.spec, job.error_code):
                    yield f"{name} is stopped at a limit that it does not have: {job.error_code}"
            case JobStatus.FAILED:
                if not job.error or not job.error_code:
                    yield f"{name} failed without a reason"
                if job.error_code == "exit_code" and job.exit_code != plan.exit_code:
                    yield f"{name} failed with exit code {job.exit_code}, its command's is {plan.exit_code}"
                if facts.plan.is_calm and job.error_code not in CALM_FAILURES:
                    yield f"{name} failed though nothing went wrong: {job.error_code}: {job.error}"
            case _:
                yield f"{name} is {job.status} ({job.phase}) at the end"
        if job.status.is_final and job.ended_at_ms is None:
            yield f"{name} is {job.status} but never ended"
        for placement in told.placements:
            if not placement.state.is_final:
                yield f"placement {placement.attempt} of {name} is {placement.state} at the end"


def check_reason(facts: Facts) -> Iterator[str]:
    """A job that failed names a cause that the world bears out."""
    for told in facts.jobs:
        code = told.report.job.error_code
        name = f"job {told.number} ended with {code}"
        line_is_bad = Deed.CUT_LINE in {step.deed for step in facts.plan.steps}
        for placement in told.placements:
            if placement.reason_code not in LOSSES or (placement.reason_code == "machine_failed" and line_is_bad):
                continue  # over such a line nothing could be started on it
            for machine in facts.machines_of(placement):
                if not _was_hurt(facts, machine):
                    yield f"machine {machine.id} of job {told.number} was given up unhurt: {placement.reason}"
        if code in ("lease", "lease_expired") and facts.longest_silence_s < facts.plan.lease_s - 60:
            yield f"{name} after {facts.plan.lease_s} s, but the longest silence was {facts.longest_silence_s:.0f} s"
        if code == "auth" and not any(knob == "unauthorized" for _, knob, _ in facts.stage.recording.fired):
            yield f"{name}, but no key was ever refused"
        if code == "not_funded" and facts.knob("starting_credit_usd") > 50:
            yield f"{name}, but there was money enough"


def _was_hurt(facts: Facts, machine: SimMachine) -> bool:
    """Say whether a machine ended, stopped or failed by itself, or was made so that it could not serve."""
    lives = {life for at_ms, life in machine.timeline if at_ms <= facts.now_ms}
    has_no_image = (machine.created_ms, "image_not_found") in [
        (at_ms, knob) for at_ms, knob, _ in facts.stage.recording.fired
    ]
    was_ended = Life.DELETING in lives and facts.was_asked_to_end(machine.id, by_ms=facts.ended_ms(machine))
    return bool(HURTS & lives) or has_no_image or not was_ended or machine.vanishes_ms is not None


def check_too_dear(facts: Facts) -> Iterator[str]:
    """Nothing is run on a machine that costs more than its order allowed."""
    for told in facts.jobs:
        for placement in told.placements:
            ceiling = placement.price_ceiling_micro_usd_per_hour
            began = [e for e in told.events if e.placement_id == placement.id and e.state_to == PlacementState.RUNNING]
            for machine in facts.machines_of(placement):
                if ceiling is None or not began:
                    continue
                # One whose price fell before anybody looked is as good as one that was cheap from the start.
                moments = (machine.running_ms(facts.now_ms) or machine.created_ms, facts.true_ms(began[0]))
                price = round(min(machine.price_usd(at_ms) for at_ms in moments) * 1_000_000)
                if price > ceiling + 1:
                    yield f"job {told.number} ran on a machine of {price} micro-USD/h, its ceiling is {ceiling}"


def check_timeline(facts: Facts) -> Iterator[str]:
    """Every move of the timeline is an allowed one, and begins where the last one ended."""
    for told in facts.jobs:
        states: dict[str, str | None] = {}
        for event in told.events:
            if event.state_to is None:
                continue
            who = event.placement_id or "job"
            if event.state_from != states.get(who):
                yield f"job {told.number}: {who} moves from {event.state_from}, but it was {states.get(who)}"
            states[who] = event.state_to
            if event.state_from is None:
                continue
            try:
                if event.placement_id is None:
                    check_job_move(JobStatus(event.state_from), JobStatus(event.state_to))
                else:
                    check_placement_move(PlacementState(event.state_from), PlacementState(event.state_to))
            except (IllegalMove, ValueError) as error:
                yield f"job {told.number}: {error}"


def check_guests(facts: Facts) -> Iterator[str]:
    """Machines of others are left alone; a lost one of ours goes exactly when that was wished for."""
    for label, guest in facts.guests.items():
        machine = facts.stage.world.machines[guest.id]
        ended_ms = machine.ended_ms(facts.now_ms)
        if not label.startswith(LABEL):
            if facts.was_asked_to_end(guest.id):
                yield f"somebody else's machine {guest.id} was asked to end"
            continue
        wish = facts.stage.desk.termination(guest)
        if wish is None and facts.was_asked_to_end(guest.id):
            yield f"the lost machine {guest.id} was asked to end though nobody wished it"
        if (
            wish is not None
            and not facts.plan.ends_lost
            and Deed.END_LOST not in {step.deed for step in facts.plan.steps}
        ):
            yield f"the lost machine {guest.id} was wished gone by nobody"
        if wish is not None and (ended_ms is None or wish.gone_at_ms is None):
            yield f"the lost machine {guest.id} was to end: it is {machine.life(facts.now_ms)}, the wish {wish.gone_at_ms}"


def check_agents(facts: Facts) -> Iterator[str]:
    """No agent ends or stumbles but for what is meant to end it, and one that was replaced acts no more."""
    agents = facts.stage.agents
    for agent in agents:
        if agent.error is not None and not (isinstance(agent.error, Replaced) and agent is not agents[-1]):
            yield f"{agent.name} ended with {type(agent.error).__name__}: {agent.error}"
    if len(facts.stage.survivors) > 1:
        yield f"{', '.join(facts.stage.survivors)} went on side by side"
    for record in facts.logged:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            continue
        if isinstance(error, LostRace | StoreError) and len(agents) > 1:
            continue  # two agents got in each other's way, as they may
        yield f"logged: {record.getMessage()} ({type(error).__name__}: {error})"


def check_secrets(facts: Facts) -> Iterator[str]:
    """The key is in no file and in nothing that was said."""
    needle = SECRET.encode()
    for path in sorted(facts.folder.rglob("*")):
        if path.is_file() and needle in path.read_bytes():
            yield f"the key is in {path.relative_to(facts.folder)}"
    if any(SECRET in record.getMessage() for record in facts.logged):
        yield "the key was logged"


def _has_limit(spec: JobSpec, code: str | None) -> bool:
    """Say whether a job has the limit at which it is said to have been stopped."""
    return (spec.max_price_micro_usd_per_hour if code == "too_dear" else spec.max_duration_s) is not None


def _is_final(status: str | None) -> bool:
    return status in ("completed", "failed", "stopped")


CHECKS: tuple[Check, ...] = (
    check_leak,
    check_once,
    check_prompt_end,
    check_outcome,
    check_reason,
    check_too_dear,
    check_log,
    check_money,
    check_timeline,
    check_guests,
    check_agents,
    check_secrets,
)
