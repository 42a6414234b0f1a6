"""The timeline of a run, for people: what the plan did, what the world, the agents and the journal say, in order of time."""

from __future__ import annotations

from collections.abc import Iterator

from gputui.sim.torture.facts import Facts
from gputui.sim.torture.recording import Entry
from gputui.sim.vtime import START_MS


def timeline(facts: Facts) -> list[str]:
    """Return one line for each thing that happened."""
    entries = [*facts.stage.recording.entries, *_lives(facts), *_journal(facts)]
    return [*_heading(facts), *map(_line, sorted(entries, key=lambda entry: entry.at_ms))]


def replay_command(seed: int, provider: str | None) -> str:
    """Return the command that plays a seed again."""
    over = f" --provider {provider}" if provider else ""
    return f"python -m gputui.sim.torture --seed {seed}{over}"


def _heading(facts: Facts) -> Iterator[str]:
    plan = facts.plan
    yield (
        f"seed {plan.seed}: {', '.join(plan.providers)}; boot {plan.boot_s:g} s, poll {plan.poll_s:g} s,"
        f" glance {plan.glance_s:g} s, lease {plan.lease_s} s"
    )
    for number, job in enumerate(plan.jobs):
        spec = job.spec
        yield (
            f"  job {number}: {spec.kind} at {job.at_s:.1f} s, lasts {job.duration_s:g} s, exit {job.exit_code},"
            f" at {spec.provider or 'any'}, at most {spec.max_duration_s or '-'} s,"
            f" cap {spec.max_price_micro_usd_per_hour or '-'}, {spec.priority}, env {dict(spec.env)}"
        )
    for name, value in plan.knobs.items():
        yield f"  knob {name} = {value}"
    for crash in plan.crashes:
        yield f"  crash {'after' if crash.after else 'before'} {crash.kind} {crash.nth}, back {crash.pause_s:.1f} s later"


def _lives(facts: Facts) -> Iterator[Entry]:
    for machine in facts.stage.world.machines.values():
        for at_ms, life in machine.timeline:
            if at_ms <= facts.now_ms:
                yield Entry(at_ms, "world", f"machine {machine.id} ({machine.label}) is {life}")
        if (stopped_ms := machine.billing_stopped_ms(facts.now_ms)) is not None:
            yield Entry(
                stopped_ms, "world", f"machine {machine.id}: billing stops at ${machine.bill_usd(facts.now_ms)}"
            )


def _journal(facts: Facts) -> Iterator[Entry]:
    for told in facts.jobs:
        for event in told.events:
            moved = f"{event.state_from or ''} -> {event.state_to}: " if event.state_to else ""
            who = f"job {told.number}" if event.kind == "job" else f"job {told.number} {event.kind}"
            yield Entry(facts.true_ms(event), who, f"{moved}{event.why}")


def _line(entry: Entry) -> str:
    return f"{(entry.at_ms - START_MS) / 1000:>10.3f}  {entry.who:<18} {entry.what}"
