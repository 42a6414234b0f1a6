"""From loose values, as a person types them or a program passes them, to a job's spec and a plan over fresh offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gputui.core.catalog import provider_facts
from gputui.core.intake import check_gpu
from gputui.core.routing import quote
from gputui.model.errors import AuthError, UsageError
from gputui.model.gpus import gpus_for_request
from gputui.model.types import JobKind, JobSpec, Offer, Priority, Tier
from gputui.model.units import HOUR_S, MicroUsdPerHour, parse_duration, parse_usd
from gputui.store.offers import known_gpus

if TYPE_CHECKING:
    from gputui.core.catalog import RefreshOutcome
    from gputui.core.desk import Desk
    from gputui.core.routing import Plan, Quote

Money: TypeAlias = str | int | float | Decimal
"""Dollars: what a person typed ("2.50", "$2.5") or a number."""

Duration: TypeAlias = str | int | float | timedelta
"""A span: "4h", "1h30m", or seconds; "none" where a limit can be lifted."""

_Word = TypeVar("_Word", bound=StrEnum)


def make_spec(
    *,
    gpu: str,
    image: str | None = None,
    command: str | None = None,
    machine: bool = False,
    count: int = 1,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    provider: str | None = None,
    region: str | None = None,
    tier: str | None = None,
    os_image: str | None = None,
    disk_gib: int | None = None,
    min_vram_gib: int | None = None,
    budget_max: Money | None = None,
    max_duration: Duration | None = None,
    idle_stop: Duration | None = None,
    expected: Duration | None = None,
    priority: str = Priority.COST,
    volumes: Sequence[str] = (),
    default_max_duration_s: int | None = None,
) -> JobSpec:
    """Return a job's spec. `machine` asks for a box to log in to instead of a command that ends.

    `budget_max` caps the list price in dollars per machine hour. `max_duration` None takes the configured default, "none"
    lifts it. `idle_stop` is a span, "30m", or a span and a share of use, "30m:10%". `expected` None means an hour, or the
    limit where that is shorter. Raises UsageError naming the field; whether the values make sense together is checked when
    the job is planned or submitted.
    """
    if machine and command is not None:
        raise UsageError("A machine to log in to takes no command.", field="command", hint="Leave out one of the two.")
    limit_s = default_max_duration_s
    if max_duration is not None:
        limit_s = None if max_duration == "none" else _seconds(max_duration, field="max_duration")
    idle_stop_s, idle_percent = parse_idle_stop(idle_stop)
    spec = JobSpec(
        gpu=gpu,
        kind=JobKind.MACHINE if machine else JobKind.BATCH,
        gpu_count=count,
        image=image,
        command=command,
        name=name,
        env=dict(env or {}),
        provider=provider,
        region=region,
        tier=_word(Tier, tier, field="tier") if tier is not None else None,
        os_image=os_image,
        disk_gib=disk_gib,
        min_vram_gib=min_vram_gib,
        max_price_micro_usd_per_hour=price_cap(budget_max),
        max_duration_s=limit_s,
        idle_stop_s=idle_stop_s,
        idle_threshold_percent=idle_percent,
        priority=_word(Priority, priority, field="priority"),
        volumes=(volumes,) if isinstance(volumes, str) else tuple(volumes),
    )
    if expected is not None:
        return replace(spec, expected_s=_seconds(expected, field="expected"))
    return replace(spec, expected_s=min(spec.expected_s, limit_s or spec.expected_s))


def parse_idle_stop(text: Duration | None) -> tuple[int | None, int]:
    """Return after how many idle seconds a job is stopped (None: never) and below how many percent of use it is idle."""
    usual = JobSpec(gpu="").idle_threshold_percent
    if text is None or not isinstance(text, str):
        return None if text is None else _seconds(text, field="idle_stop"), usual
    span, colon, share = text.partition(":")
    percent = share.strip().removesuffix("%").strip()
    if colon and not percent.isdecimal():
        raise UsageError(
            f"idle_stop: {share!r} is not a share of use.", field="idle_stop", hint="Write it like 30m or 30m:10%."
        )
    return _seconds(span, field="idle_stop"), int(percent) if colon else usual


def price_cap(dollars: Money | None, *, field: str = "budget_max") -> MicroUsdPerHour | None:
    """Return a cap in micro-USD per hour. Raises UsageError for anything negative or not an amount."""
    return None if dollars is None else parse_usd(str(dollars), field=field)


def parse_variables(assignments: Sequence[str]) -> dict[str, str]:
    """Read "NAME=value" pairs; the value may be empty and may hold more equals signs. Raises UsageError."""
    variables = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            # Only the name is repeated: what was typed may be a secret.
            raise UsageError(
                f"--env {name or '=…'} is not NAME=value.", field="env", hint="Write it like --env EPOCHS=3."
            )
        variables[name] = value
    return variables


def require_known_gpu(desk: Desk, gpu: str) -> None:
    """Raise UsageError, with the nearest names, for a GPU that neither our table nor any stored offer knows."""
    check_gpu(gpu, () if gpus_for_request(gpu) else known_gpus(desk.store))


def quotes_for(offers: Iterable[Offer], *, expected_s: int = HOUR_S) -> list[Quote]:
    """Return each offer with what that much work costs there in all; offers of providers no longer known are left out."""
    facts = provider_facts()
    spec = JobSpec(gpu="", expected_s=expected_s)  # nothing else of a job matters to what an offer costs
    return [quote(offer, spec, facts[offer.provider]) for offer in offers if offer.provider in facts]


def due_for_refresh(desk: Desk, *, provider: str | None = None, force: bool = False) -> list[str]:
    """Return the usable providers whose offers are old or were never fetched (`force`: all of them), or just the one named."""
    names = desk.accounts.usable() if force else desk.stale_providers()
    return [name for name in names if provider in (None, name)]


async def fresh_plan(desk: Desk, spec: JobSpec) -> tuple[Plan, list[RefreshOutcome]]:
    """Refresh what is due for a job and rank it; also returns how the refresh went.

    Mistakes in the request are told before anything is asked. Raises UsageError, AuthError (the provider named has no
    key, or refuses it), and the refresh's own error when the provider named could not be asked and nothing is known of it;
    for a job with volumes also what `mounts.find_volumes` raises.
    """
    try:
        desk.checked(spec)
    except UsageError as error:
        if error.field != "gpu":  # an unknown GPU may become known by asking
            raise
    due = due_for_refresh(desk, provider=spec.provider)
    outcomes = await desk.refresh(due) if due else []
    plan = desk.plan(spec, await desk.find_volumes(spec))
    failures = {outcome.provider: outcome.error for outcome in outcomes if outcome.error is not None}
    failure = failures.get(spec.provider or "")
    if failure is not None and (isinstance(failure, AuthError) or not plan.considered):
        raise failure
    reasons = {name: failure.message.rstrip(".") for name, failure in failures.items()}
    return replace(plan, unavailable={**plan.unavailable, **reasons}), outcomes


def _seconds(span: Duration, *, field: str) -> int:
    if isinstance(span, timedelta):
        span = span.total_seconds()
    return parse_duration(span if isinstance(span, str) else str(int(span)), field=field)


def _word(words: type[_Word], text: str, *, field: str) -> _Word:
    try:
        return words(text)
    except ValueError:
        known = ", ".join(word.value for word in words)
        raise UsageError(f"{field}: {text!r} is not one of {known}.", field=field) from None
