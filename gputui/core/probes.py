"""What works with a provider's key: its read-only questions, asked side by side. Asks and tells; prints nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Any

from gputui.core.accounts import Accounts
from gputui.model.clock import Clock
from gputui.model.errors import AuthError, GputuiError, Malformed, Unreachable
from gputui.model.types import Balance, Offer, Stock
from gputui.model.units import Ms, format_age, format_usd
from gputui.providers.base import KeyCheck, Provider, capabilities_of
from gputui.providers.exchange import Exchange, clock_problem, exchanges
from gputui.providers.pacing import pause_left_s
from gputui.providers.registry import provider_title

DEADLINE_S = 20.0
OFFERS_DEADLINE_S = 45.0  # a large market is read a page at a time, as fast as the provider lets us
_CHARGES_SPAN_MS = 24 * 3600 * 1000

KEY, OFFERS, MACHINES = "key", "offers", "machines"
NEEDED = frozenset({KEY, OFFERS, MACHINES})


class Outcome(StrEnum):
    """How a probe ended. WARNING: it works, and something about it wants looking at."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_OFFERED = "not offered"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one question to a provider came to. `took_ms` is None for what was not asked; `error` is why it did not work."""

    provider: str
    name: str
    outcome: Outcome
    detail: str = ""
    hint: str | None = None
    took_ms: Ms | None = None
    error: GputuiError | None = None

    @property
    def is_obstacle(self) -> bool:
        """Whether no job can be run at this provider because of it."""
        return self.name in NEEDED and self.error is not None


@dataclass(frozen=True, slots=True)
class _Question:
    """One read-only question: `ask` puts it to a client, `tell` words the answer."""

    name: str
    ask: Callable[[Any], Awaitable[Any]]
    tell: Callable[[Any], str]
    deadline_s: float = DEADLINE_S


async def probe(
    accounts: Accounts, clock: Clock, provider: str, *, state_dir: Path, kept_offers_at_ms: Ms | None = None
) -> list[Probe]:
    """Return what works at one provider with the present key, what a job needs first.

    The key is asked about first: where it is refused, or nobody answers, nothing else is asked. `kept_offers_at_ms` is when
    the offers that views show were fetched. Never raises for a provider; a failure is a row.
    """
    try:
        client = accounts.client(provider)
    except GputuiError as error:
        return [_row_of(provider, KEY, error, None)]
    heard: list[Exchange] = []
    key = await _ask(client, _KEY_QUESTION, heard)
    if key.error is None and (source := accounts.account(provider).key_source):
        key = replace(key, detail=f"{key.detail}; key from {source}")
    questions = _questions_for(client, clock, kept_offers_at_ms)
    if _ends_everything(key.error):
        asked = [Probe(provider, question.name, Outcome.NOT_ASKED) for question in questions]
    else:
        asked = list(await asyncio.gather(*(_ask(client, question, heard) for question in questions)))
    return [key, *asked, *_lacking(client, clock), *_about_the_line(provider, heard, clock.now_ms(), state_dir)]


async def probe_all(
    accounts: Accounts,
    clock: Clock,
    providers: Sequence[str],
    *,
    state_dir: Path,
    kept_offers_at_ms: Mapping[str, Ms | None],
) -> list[Probe]:
    """Return the rows of several providers, asked side by side, in the order given."""
    questions = (
        probe(accounts, clock, name, state_dir=state_dir, kept_offers_at_ms=kept_offers_at_ms.get(name))
        for name in providers
    )
    tables = await asyncio.gather(*questions)
    return [row for table in tables for row in table]


async def _ask(client: Provider, question: _Question, heard: list[Exchange]) -> Probe:
    """Put one question within its deadline and add to `heard` what went over the wire."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    answer: Any = None
    error: GputuiError | None = None
    with exchanges() as exchanged:
        try:
            async with asyncio.timeout(question.deadline_s):
                answer = await question.ask(client)
        except TimeoutError:
            error = Unreachable(
                f"It did not answer within {question.deadline_s:.0f} s.", provider=client.name, hint="Try again later."
            )
        except GputuiError as failure:
            error = failure
        except (ValueError, TypeError, LookupError) as failure:
            # A client that trips over an answer must not hide what the other questions found.
            error = Malformed(
                f"The answer could not be read ({type(failure).__name__}).",
                provider=client.name,
                hint="Please report it.",
            )
    heard += exchanged
    took_ms = round((loop.time() - started_s) * 1000)
    if error is not None:
        return _row_of(client.name, question.name, error, took_ms)
    return Probe(client.name, question.name, Outcome.OK, question.tell(answer), took_ms=took_ms)


def _row_of(provider: str, name: str, error: GputuiError, took_ms: Ms | None) -> Probe:
    outcome = Outcome.REFUSED if isinstance(error, AuthError) else Outcome.FAILED
    return Probe(provider, name, outcome, error.message, error.hint, took_ms, error)


def _ends_everything(error: GputuiError | None) -> bool:
    """Say whether the other questions can only fail as this one did."""
    return isinstance(error, Unreachable) or (isinstance(error, AuthError) and not error.lacks_permission)


async def _check_key(client: Provider) -> KeyCheck:
    check = await client.check_key()
    if not check.ok:
        raise AuthError(check.detail or f"{provider_title(client.name)} refused the key.", provider=client.name)
    return check


def _told_of_key(check: KeyCheck) -> str:
    return ", ".join(filter(None, (check.identity, check.detail))) or "accepted"


_KEY_QUESTION = _Question(KEY, _check_key, _told_of_key)


def _questions_for(client: Provider, clock: Clock, kept_offers_at_ms: Ms | None) -> list[_Question]:
    """Return what this client can be asked without changing anything, beside its key."""

    def told_of_offers(offers: Sequence[Offer]) -> str:
        available = sum(offer.stock is not Stock.NONE for offer in offers)
        kept_ms = None if kept_offers_at_ms is None else clock.now_ms() - kept_offers_at_ms
        kept = "none kept here yet" if kept_ms is None else f"those kept here are {format_age(kept_ms)} old"
        return f"{len(offers)}, {available} available; {kept}"

    needed = [
        _Question(OFFERS, lambda c: c.fetch_offers(), told_of_offers, OFFERS_DEADLINE_S),
        _Question(MACHINES, lambda c: c.list_machines(), lambda rows: f"{len(rows)} alive"),
    ]
    able = capabilities_of(type(client))
    return needed + [question for question in _by_capability(clock) if able[question.name]]


def _by_capability(clock: Clock) -> list[_Question]:
    """Return the question that belongs to each capability that has one, named after it."""
    until_ms = clock.now_ms()
    return [
        _Question("balance", lambda c: c.fetch_balance(), _told_of_balance),
        _Question("ssh-keys", lambda c: c.list_ssh_keys(), _count),
        _Question("os-images", lambda c: c.list_os_images(), _count),
        _Question("regions", lambda c: c.list_regions(), _count),
        _Question("volumes", lambda c: c.list_volumes(), _count),
        _Question("waitlist", lambda c: c.list_waitlist(), _count),
        _Question("webhooks", lambda c: c.list_webhooks(), _count),
        _Question("api-keys", lambda c: c.list_api_keys(), _count),
        _Question(
            "charges",
            lambda c: c.fetch_charges(since_ms=until_ms - _CHARGES_SPAN_MS, until_ms=until_ms),
            lambda rows: f"{len(rows)} in the last 24 h",
        ),
    ]


def _count(rows: Sequence[Any]) -> str:
    return str(len(rows))


def _told_of_balance(balance: Balance) -> str:
    return f"${format_usd(balance.balance_micro_usd)}" if balance.balance_micro_usd is not None else "not told"


def _lacking(client: Provider, clock: Clock) -> list[Probe]:
    """Return what could be asked of others, but not of this provider."""
    able = capabilities_of(type(client))
    names = [question.name for question in _by_capability(clock)]
    return [Probe(client.name, name, Outcome.NOT_OFFERED) for name in names if not able[name]]


def _about_the_line(provider: str, heard: Sequence[Exchange], now_ms: Ms, state_dir: Path) -> list[Probe]:
    """Return how fast the provider answers, whether our clock agrees with its, and whether it asks us to wait."""
    if not heard:
        return []
    times_ms = [exchange.took_ms for exchange in heard]
    answers = f"{len(heard)} answer{'' if len(heard) == 1 else 's'}"
    latency = f"{median(times_ms):.0f} ms typical, {max(times_ms)} ms slowest of {answers}"
    rows = [Probe(provider, "latency", Outcome.OK, latency)]
    gaps_s = [exchange.clock_gap_s for exchange in heard if exchange.clock_gap_s is not None]
    if gaps_s:
        gap_s = median(gaps_s)
        problem = clock_problem(gap_s)
        rows.append(
            Probe(
                provider, "clock", Outcome.WARNING, problem, "Set it right (timedatectl), or HTTPS and ages go wrong."
            )
            if problem
            else Probe(provider, "clock", Outcome.OK, f"{abs(gap_s):.0f} s apart")
        )
    pause_s = pause_left_s(state_dir, provider, now_ms)
    if pause_s is not None:
        rows.append(
            Probe(provider, "requests", Outcome.WARNING, f"It asks us to wait {pause_s:.0f} s more.", "Try again then.")
            if pause_s > 0
            else Probe(provider, "requests", Outcome.OK, "within its limits")
        )
    return rows


def worst_obstacle(probes: Iterable[Probe]) -> GputuiError | None:
    """Return the error that keeps jobs from running: a key to fix before anything else; None when all that is needed works."""
    errors = [row.error for row in probes if row.is_obstacle and row.error is not None]
    return next((error for error in errors if isinstance(error, AuthError)), errors[0] if errors else None)
