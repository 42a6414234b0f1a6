"""One seed's history before it is played: the jobs, what goes wrong and when, and how the agents die. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gputui.model.types import JobKind, JobSpec, Priority
from gputui.sim.faults import Kind
from gputui.sim.serve import PROVIDER_APPS
from gputui.sim.torture.agent import Crash, StepKind
from gputui.sim.torture.moods import (
    BIRTHS,
    LOST_AFTER,
    LOST_BEFORE,
    ODD_ANSWERS,
    OPERATIONS,
    OUTAGES,
    RELEASING,
    own_knobs,
)

IMAGE = "pytorch/pytorch:latest"
LOGIN_IMAGE = "runpod/pytorch:latest"  # one that starts an sshd by itself


class Deed(StrEnum):
    """What a plan does at a moment."""

    KNOBS = "turn knobs"
    STOP = "wish a job's stop"
    CUT_LINE = "cut the line to machines"
    MEND_LINE = "mend the line to machines"
    CLOCK = "set the host's clock wrong"
    KILL_AGENT = "kill the agent"
    TAKE_OVER = "start a second agent"
    KILL_MACHINE = "kill a machine"
    REPRICE = "change a machine's price"
    LIST_PRICES = "change list prices"
    END_LOST = "wish the end of a lost machine"


@dataclass(frozen=True, slots=True)
class Step:
    """A deed at a moment, in seconds from the start. `about` is a job's number, a count of seconds, a factor, a word."""

    at_s: float
    deed: Deed
    about: Any = None


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job, when it is submitted and what its command will do."""

    at_s: float
    spec: JobSpec
    duration_s: float
    exit_code: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one run does by itself. `heal_s` is when the last disturbance is over.

    `knobs` are turned before anything happens, `guests` are machines of others in the accounts: provider and label.
    `ends_lost` is the setting by which the agent deletes machines of ours that no job has.
    """

    seed: int
    providers: tuple[str, ...]
    jobs: tuple[JobPlan, ...]
    steps: tuple[Step, ...] = ()
    crashes: tuple[Crash, ...] = ()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    guests: tuple[tuple[str, str], ...] = ()
    boot_s: float = 10.0
    poll_s: float = 10.0
    glance_s: float = 5.0
    lease_s: int = 21_600
    ends_lost: bool = False
    heal_s: float = 0.0

    @property
    def is_calm(self) -> bool:
        """True when nothing is planned to go wrong."""
        return not (self.knobs or self.crashes or [step for step in self.steps if step.deed is not Deed.STOP])


def make_plan(seed: int, provider: str | None = None) -> Plan:
    """Return the plan of a seed, over one provider or over whichever the seed picks."""
    return _Planner(seed, provider).plan()


class _Planner:
    """Draws a plan. Times are seconds from the start; all fall while something happens."""

    def __init__(self, seed: int, provider: str | None) -> None:
        draw = self._draw = random.Random(f"plan:{seed}")
        self._seed = seed
        names = sorted(PROVIDER_APPS)
        picked = draw.sample(names, 1 if draw.random() < 0.8 else 2)
        self._providers = tuple(picked) if provider is None else (provider,)
        self._boot_s = draw.choice((1.0, 3.0, 10.0, 40.0, 120.0))
        self._poll_s = draw.choice((3.0, 10.0, 20.0, 30.0))
        self._lease_s = 21_600
        self._ends_lost = False
        self._steps: list[Step] = []
        self._crashes: list[Crash] = []
        self._knobs: dict[str, Any] = {}
        self._guests: list[tuple[str, str]] = []
        self._jobs = self._draw_jobs()
        self._busy_s = self._boot_s + max(job.at_s + job.duration_s for job in self._jobs) + 60

    def plan(self) -> Plan:
        draw = self._draw
        for spice in draw.sample(_SPICES, draw.choice((0, 1, 1, 2, 2, 3, 4))):
            spice(self)
        if draw.random() < 0.25:
            number = draw.randrange(len(self._jobs))
            soon_s = self._jobs[number].at_s + draw.uniform(0, 30)
            self._at(draw.choice((soon_s, draw.uniform(0, self._busy_s))), Deed.STOP, number)
        for number, job in enumerate(self._jobs):
            if job.spec.kind is JobKind.MACHINE and job.spec.max_duration_s in (None, 3600):
                self._at(job.at_s + job.duration_s + self._boot_s, Deed.STOP, number)
        steps = sorted(self._steps, key=lambda step: step.at_s)
        return Plan(
            seed=self._seed,
            providers=self._providers,
            jobs=self._jobs,
            steps=tuple(steps),
            crashes=tuple(self._crashes),
            knobs=self._knobs,
            guests=tuple(self._guests),
            boot_s=self._boot_s,
            poll_s=self._poll_s,
            glance_s=draw.choice((1.0, 5.0, 10.0)),
            lease_s=self._lease_s,
            ends_lost=self._ends_lost,
            heal_s=max([step.at_s for step in steps], default=0.0),
        )

    # Jobs

    def _draw_jobs(self) -> tuple[JobPlan, ...]:
        count = self._draw.choice((1, 1, 1, 2, 3))
        return tuple(self._draw_job(number) for number in range(count))

    def _draw_job(self, number: int) -> JobPlan:
        draw = self._draw
        kind = JobKind.MACHINE if draw.random() < 0.15 else JobKind.BATCH
        duration_s = draw.choice((0, 2, 20, 60, 150) if kind is JobKind.MACHINE else (0, 2, 20, 60, 150, 400))
        exit_code = draw.choice((0, 0, 0, 1, 137))
        env = {"MOCK_DURATION_S": str(duration_s), "MOCK_EXIT_CODE": str(exit_code)}
        if draw.random() < 0.2:
            env["MOCK_IGNORE_TERM"] = "1"
        is_batch = kind is JobKind.BATCH
        spec = JobSpec(
            gpu="RTX 4090" if self._providers == ("vastai",) else "H100",  # what its market has most of
            kind=kind,
            image=IMAGE if is_batch else LOGIN_IMAGE,
            command=f"python train.py --run {number}" if is_batch else None,
            env=env,
            provider=draw.choice((None, *self._providers)),
            max_price_micro_usd_per_hour=draw.choice((None, None, None, 3_500_000, 20_000_000)),
            max_duration_s=draw.choice((None, None, None, 30, 300, 3600)),
            priority=draw.choice(list(Priority)),
        )
        return JobPlan(draw.choice((0.0, draw.uniform(0, 90))), spec, duration_s, exit_code)

    # What goes wrong

    def _at(self, at_s: float, deed: Deed, about: Any = None) -> None:
        self._steps.append(Step(round(at_s, 3), deed, about))

    def _window(self, longest_s: float) -> tuple[float, float]:
        """Return when something begins and ends: more often short and early than long and late."""
        begin_s = self._draw.uniform(0, self._busy_s) * self._draw.choice((0.1, 0.4, 1.0))
        return begin_s, begin_s + longest_s * self._draw.random() ** 3 + 1

    def _operation(self) -> str:
        """Return a pattern for the operation that is hit: one of those that matter, or any."""
        operations = OPERATIONS.get(self._draw.choice(self._providers))
        if operations is None or self._draw.random() < 0.2:
            return "*"
        return self._draw.choice(
            (operations.create, operations.create, operations.end, operations.end, operations.look, operations.listing)
        )

    def _add_rule(self, knob: str, rule: Mapping[str, Any]) -> None:
        self._knobs.setdefault(knob, []).append(rule)

    def one_bad_call(self) -> None:
        draw = self._draw
        for _ in range(draw.choice((1, 1, 2, 3))):
            knob = draw.choice(LOST_BEFORE + LOST_AFTER * 2 + ODD_ANSWERS)
            operation = self._operation()
            skip = draw.choice((0, 0, 1, 2, 5)) if operation != "*" else draw.randrange(40)
            self._add_rule(knob, {"operation": operation, "count": draw.choice((1, 1, 2, 3)), "skip": skip})
        self._knobs["slow_s"] = draw.choice((2.0, 15.0, 35.0))

    def lost_order(self) -> None:
        draw = self._draw
        operations = OPERATIONS.get(draw.choice(self._providers))
        rule = {"operation": operations.create if operations else "*", "count": draw.choice((1, 1, 2))}
        self._add_rule(draw.choice(LOST_AFTER), rule)
        if draw.random() < 0.5:
            self._knobs["eventual_list_s"] = draw.choice((2.0, 15.0, 30.0))

    def bad_weather(self) -> None:
        draw = self._draw
        begin_s, end_s = self._window(1800)
        knobs = draw.sample(LOST_BEFORE + LOST_AFTER + ODD_ANSWERS, draw.choice((1, 2, 4)))
        share = draw.choice((0.05, 0.2, 0.5))
        rule = {"probability": share, "operation": self._operation()}
        self._at(begin_s, Deed.KNOBS, dict.fromkeys(knobs, rule))
        self._at(end_s, Deed.KNOBS, dict.fromkeys(knobs))

    def outage(self) -> None:
        begin_s, end_s = self._window(1500)
        knob = self._draw.choice(OUTAGES)
        self._at(begin_s, Deed.KNOBS, {knob: 1.0})
        self._at(end_s, Deed.KNOBS, {knob: None})

    def bad_births(self) -> None:
        draw = self._draw
        for knob in draw.sample(BIRTHS, draw.choice((1, 1, 2))):
            self._add_rule(knob, {"count": draw.choice((1, 1, 2, 9)), "skip": draw.choice((0, 0, 1))})
        self._knobs |= {
            "dies_after_s": draw.uniform(0, self._busy_s),
            "dies_as": self._way_to_die(),
            "slow_provisioning_s": draw.choice((30.0, 400.0)),
        }

    def _way_to_die(self) -> str:
        """Return how a machine dies; where no provider takes a machine's hardware back, none loses it."""
        ways = ["offline", "error", "vanish"]
        return self._draw.choice([*ways, "released"] if set(self._providers) <= RELEASING else ways)

    def slow_starts(self) -> None:
        self._knobs |= {
            "ssh_after_s": self._draw.choice((0.0, 5.0, 45.0)),
            "latency_s": self._draw.choice((0.0, 0.3, 2.0)),
        }

    def stubborn_ends(self) -> None:
        draw = self._draw
        if draw.random() < 0.6:
            self._add_rule("stuck_terminate", {"count": draw.choice((1, 2, 4))})
            self._knobs["stuck_hides_s"] = draw.choice((0.0, 1.5))  # less than lies between two sightings
        self._knobs |= {
            "delete_s": draw.choice((0.0, 0.5, 5.0, 40.0)),
            "deleted_still_listed_s": draw.choice((0.0, 0.0, 10.0, 120.0)),
            "deleted_readable_s": draw.choice((0.0, 30.0, 86_400.0)),
        }

    def late_sightings(self) -> None:
        draw = self._draw
        self._knobs |= {
            "eventual_get_s": draw.choice((0.0, 2.0, 20.0)),
            "eventual_list_s": draw.choice((0.0, 2.0, 30.0)),
        }

    def odd_money(self) -> None:
        draw = self._draw
        self._knobs |= {
            "billing_start": draw.choice(("running", "ordered")),
            # RunPod hides a pod from the moment its deletion is asked for: nobody could know how long it goes on.
            "billing_stop": draw.choice(("requested", "requested" if "runpod" in self._providers else "deleted")),
            "offline_billing": draw.random() < 0.5,
            "price_drift": draw.choice((0.0, 0.3)),
        }
        if draw.random() < 0.3:
            self._add_rule("price_surprise", {"count": draw.choice((1, 3))})
            self._knobs["price_surprise_factor"] = draw.choice((0.8, 1.05, 1.5))
        if draw.random() < 0.5:
            self._at(draw.uniform(0, self._busy_s), Deed.REPRICE, draw.choice((0.5, 1.3)))
        if draw.random() < 0.3:
            self._at(draw.uniform(0, self._busy_s), Deed.LIST_PRICES, draw.choice((0.9, 1.2)))
        if draw.random() < 0.15:
            self._knobs["starting_credit_usd"] = draw.choice((0.0, 0.05, 0.3, 1.0))

    def tight_market(self) -> None:
        self._knobs["market_churn"] = self._draw.choice((0.3, 0.9))

    def bad_line(self) -> None:
        begin_s, end_s = self._window(1500)
        if self._draw.random() < 0.5:
            self._at(begin_s, Deed.CUT_LINE)
            self._at(end_s, Deed.MEND_LINE)
        else:
            self._at(0, Deed.CUT_LINE, self._draw.choice((5, 7, 11, 30)))

    def wrong_clock(self) -> None:
        self._at(self._draw.uniform(0, self._busy_s), Deed.CLOCK, self._draw.choice((-90, -3, 2, 45, 240)))

    def crashes(self) -> None:
        draw = self._draw
        for _ in range(draw.choice((1, 1, 2, 4))):
            kind = draw.choice((StepKind.COMMIT, StepKind.REQUEST, StepKind.REQUEST, StepKind.SHELL, StepKind.LOG))
            nth = 1 + int(draw.expovariate(1 / {StepKind.LOG: 3, StepKind.SHELL: 6}.get(kind, 9)))
            pause_s = draw.choice((0.0, 3.0, draw.uniform(0, 200), 900.0))
            self._crashes.append(Crash(kind, nth, draw.random() < 0.5, pause_s))

    def kills(self) -> None:
        for _ in range(self._draw.choice((1, 2, 5))):
            self._at(self._draw.uniform(0, self._busy_s), Deed.KILL_AGENT, self._draw.choice((0.0, 10.0, 300.0)))

    def take_over(self) -> None:
        self._at(self._draw.uniform(0, self._busy_s), Deed.TAKE_OVER)

    def dead_machine(self) -> None:
        self._at(self._draw.uniform(0, self._busy_s), Deed.KILL_MACHINE, self._way_to_die())

    def moods(self) -> None:
        draw = self._draw
        for provider in self._providers:
            knobs = own_knobs(provider)
            for knob in draw.sample(knobs, min(len(knobs), draw.choice((1, 2, 4, 8)))):
                if knob.kind is Kind.CHOICE:
                    self._knobs[knob.name] = draw.choice(knob.choices)
                elif knob.kind is Kind.FLAG:
                    self._knobs[knob.name] = draw.random() < 0.5
                else:
                    self._add_rule(knob.name, {"count": draw.choice((1, 2)), "skip": draw.choice((0, 0, 1))})

    def guests(self) -> None:
        provider = self._draw.choice(self._providers)
        self._guests.append((provider, "somebody-elses-box"))
        if self._draw.random() < 0.6:
            self._guests.append((provider, f"gputui-torture-{'0' * 26}"))
            if self._draw.random() < 0.6:
                self._at(self._draw.uniform(0, self._busy_s), Deed.END_LOST)
            else:
                self._ends_lost = self._draw.random() < 0.5

    def short_lease(self) -> None:
        self._lease_s = 120


_SPICES: Sequence[Callable[[_Planner], None]] = (
    _Planner.one_bad_call,
    _Planner.lost_order,
    _Planner.bad_weather,
    _Planner.outage,
    _Planner.bad_births,
    _Planner.slow_starts,
    _Planner.stubborn_ends,
    _Planner.late_sightings,
    _Planner.odd_money,
    _Planner.tight_market,
    _Planner.bad_line,
    _Planner.wrong_clock,
    _Planner.crashes,
    _Planner.crashes,
    _Planner.kills,
    _Planner.take_over,
    _Planner.dead_machine,
    _Planner.moods,
    _Planner.guests,
    _Planner.short_lease,
)
