"""What commands share: the profile's desk, opened once and closed at the end, and fresh offers."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gputui.cli.output import say, warn
from gputui.model.errors import AgentError, AuthError, GputuiError

if TYPE_CHECKING:
    from gputui.core.catalog import RefreshOutcome
    from gputui.core.desk import Desk
    from gputui.store.alarms import Alarm

_DESK = "gputui.desk"

_T = TypeVar("_T")


def profile_of(ctx: click.Context) -> str | None:
    """Return the profile named on the command line, None when it was left out."""
    profile: str | None = ctx.find_root().params.get("profile")
    return profile


def open_desk(ctx: click.Context) -> Desk:
    """Return the profile's desk, the same one for the whole command. Raises ConfigError, StoreError, UsageError."""
    from gputui.core.desk import Desk

    root = ctx.find_root()
    if _DESK not in root.meta:
        desk = root.meta[_DESK] = Desk.open(profile_of(ctx))
        root.call_on_close(desk.close)
    opened: Desk = root.meta[_DESK]
    return opened


def open_guarded_desk(ctx: click.Context) -> Desk:
    """Return the desk after seeing to it that whatever is alive has an agent; a failure of that is a warning."""
    desk = open_desk(ctx)
    try:
        desk.guard()
    except AgentError as error:
        warn(f"jobs are alive and nobody watches them: {error}")
    return desk


def ask(desk: Desk, question: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that talks to providers, and close the connections it made."""
    import asyncio

    async def ask_and_close() -> _T:
        try:
            return await question
        finally:
            await desk.aclose()

    return asyncio.run(ask_and_close())


def refresh_offers(desk: Desk, *, force: bool = False, cached: bool = False, provider: str | None = None) -> None:
    """Fetch the offers that are due (all usable providers with `force`, none with `cached`); trouble is told on stderr.

    Raises the error of the provider named when its key is refused, or when it fails and nothing was known of it before.
    """
    from gputui.core.request import due_for_refresh

    due = [] if cached else due_for_refresh(desk, provider=provider, force=force)
    if not due:
        return
    say(f"Asking {', '.join(map(title_of, due))} for offers …")
    outcomes = ask(desk, desk.refresh(due))
    if provider is not None and (error := outcomes[0].error) is not None:
        status = desk.provider_statuses().get(provider)
        if isinstance(error, AuthError) or status is None or status.last_ok_ms is None:
            raise error
    tell_failures(desk, outcomes)


def title_of(provider: str) -> str:
    """Return what people call a provider; tables show the name that is typed."""
    from gputui.providers.registry import provider_title

    return provider_title(provider)


def tell_failures(desk: Desk, outcomes: list[RefreshOutcome]) -> None:
    """Tell which providers could not be asked and how old what is shown of them is."""
    from gputui.model.units import format_age

    statuses = desk.provider_statuses()
    for outcome in outcomes:
        if outcome.error is not None:
            status = statuses.get(outcome.provider)
            last_ok_ms = status.last_ok_ms if status else None
            shown = "nothing is known of its offers"
            if last_ok_ms is not None:
                shown = f"its offers are {format_age(desk.clock.now_ms() - last_ok_ms)} old"
            warn(f"{outcome.provider}: {outcome.error}\n({shown})")


def tell_problems(problems: Mapping[str, GputuiError]) -> None:
    """Tell which providers did not answer."""
    for name, error in problems.items():
        warn(f"{title_of(name)} could not be asked: {error}")


def tell_alarms(desk: Desk) -> None:
    """Tell what costs money and needs the user now."""
    for alarm in desk.alarms():
        warn(alarm_sentence(alarm))


def alarm_sentence(alarm: Alarm) -> str:
    """Return an alarm in words: what is wrong, what it costs meanwhile, what to do."""
    from gputui.model.units import format_usd

    rate = alarm.rate_micro_usd_per_hour
    costs = f" It costs {format_usd(rate)} $/h meanwhile." if rate else ""
    return f"{alarm.message}{costs} {alarm.hint}"
