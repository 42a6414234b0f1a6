"""Accounts for people: the key and where it is kept, how the provider answers, what it can do, how it bills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from gputui.core.accounts import Account
from gputui.core.metering import describe_billing
from gputui.core.probes import Outcome, Probe
from gputui.local.secrets import RungStatus
from gputui.model.units import Ms, format_age
from gputui.store.offers import ProviderStatus
from gputui.tui.render.columns import Column
from gputui.tui.render.states import Badge
from gputui.tui.render.text import UNKNOWN, homely, join, left, plain, rule, styled

_LABEL = 11

_CAN = {
    "balance": "tells the balance",
    "ssh-keys": "SSH keys",
    "os-images": "images",
    "regions": "regions",
    "volumes": "volumes",
    "attach volumes": "attach volumes",
    "attach volumes at create": "machines with volumes",
    "stop and start": "stop and start",
    "waitlist": "waitlist",
    "webhooks": "webhooks",
    "api-keys": "API keys",
    "charges": "its own bill",
    "logs": "logs of containers",
}
_OUTCOMES: dict[Outcome, Badge] = {
    Outcome.OK: Badge("✓", "ok", "$state-running"),
    Outcome.WARNING: Badge("▲", "look", "$state-waiting"),
    Outcome.REFUSED: Badge("✕", "refused", "$state-failed"),
    Outcome.FAILED: Badge("✕", "failed", "$state-failed"),
    Outcome.NOT_OFFERED: Badge("–", "not offered", "$faint"),
    Outcome.NOT_ASKED: Badge("○", "not asked", "$faint"),
}


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Where a key was looked for, up to the place that has it. Of the key itself only its end is ever shown."""

    rungs: tuple[RungStatus, ...]

    @property
    def served(self) -> RungStatus | None:
        return self.rungs[-1] if self.rungs and self.rungs[-1].served else None


@dataclass(frozen=True, slots=True)
class AccountView:
    """One provider as the page shows it. `key` is None until it was looked up, `able` what its client can do."""

    account: Account
    status: ProviderStatus | None
    key: KeyFacts | None
    able: Mapping[str, bool]
    pause_s: float | None
    probes: Sequence[Probe] = ()
    is_testing: bool = False


def columns(now_ms: Ms) -> list[Column[AccountView]]:
    """Return the columns of the list of providers."""
    return [
        Column("provider", 14, 0, lambda view: (view.account.label, "")),
        Column("key", 16, 0, _key),
        Column("kept in", 14, 2, lambda view: (_store(view), "$muted")),
        Column("offers", 10, 3, lambda view: (_offers(view), ""), is_right=True),
        Column("latency", 11, 4, lambda view: (_latency(view), "$muted"), is_right=True),
        Column("fetched", 11, 1, lambda view: (_fetched(view, now_ms), "$muted"), is_right=True),
        Column("requests", 14, 5, _requests),
        Column("says", 16, 2, _says, grows=True, most=60),
    ]


def _key(view: AccountView) -> tuple[str, str]:
    account = view.account
    if not account.info.needs_key:
        return "● none needed", "$state-running"
    served = view.key.served if view.key else None
    if account.usable:
        last = served.found.last_characters if served and served.found else ""
        return f"● …{last}" if last else "● yes", "$state-running"
    if "switched off" in (account.problem or ""):
        return "○ switched off", "$faint"
    if view.key and view.key.rungs and view.key.rungs[-1].problem is not None:
        return "✕ cannot be read", "$state-failed"
    return "○ no key", "$muted"


def _store(view: AccountView) -> str:
    served = view.key.served if view.key else None
    if served is not None:
        return served.source.value
    return view.account.key_source or UNKNOWN


def _offers(view: AccountView) -> str:
    return f"{view.status.offer_count:,}" if view.status and view.status.last_ok_ms is not None else UNKNOWN


def _latency(view: AccountView) -> str:
    latency_ms = view.status.latency_ms if view.status else None
    return UNKNOWN if latency_ms is None else f"{latency_ms:,} ms"


def _fetched(view: AccountView, now_ms: Ms) -> str:
    ok_ms = view.status.last_ok_ms if view.status else None
    return "never" if ok_ms is None else format_age(now_ms - ok_ms)


def _requests(view: AccountView) -> tuple[str, str]:
    if view.pause_s is None:
        return UNKNOWN, "$faint"
    return (f"◐ wait {view.pause_s:.0f} s", "$state-waiting") if view.pause_s > 0 else ("● in limits", "$muted")


def _says(view: AccountView) -> tuple[str, str]:
    if view.is_testing:
        return "testing …", "$state-waiting"
    if view.account.problem is not None:
        return view.account.problem, "$muted"
    if view.status is not None and view.status.error is not None:
        return f"✕ {view.status.error}", "$state-failed"
    return "", ""


def detail(view: AccountView, *, width: int, now_ms: Ms) -> Content:
    """Return everything that is known of a provider and its account."""
    info = view.account.info
    key, style = _key(view)
    lines = [rule(join((plain(view.account.label), "bold")), width, right_title=styled(key, style))]
    if view.probes:
        lines += _test(view.probes, width)
        lines.append(rule(join(("Account", "bold")), width))
    lines += _key_facts(view, width)
    if view.status is not None:
        lines += _fact(
            "answers", f"{_latency(view)}, {_offers(view)} offers, fetched {_fetched(view, now_ms)} ago", width
        )
        if view.status.error is not None:
            lines += _fact("last error", plain(view.status.error[:600]), width, "$state-failed")
    lines += _fact("requests", _pace(view), width)
    lines += _fact("bills", describe_billing(info.billing), width)
    lines += _fact("", f"told by: {info.billing.source}", width, "$muted")
    lines += _fact("guard", _guard(view), width)
    lines += _fact("can", _abilities(view, has=True) or UNKNOWN, width)
    if lacking := _abilities(view, has=False):
        lines += _fact("cannot", f"{lacking}: its API has no such call, or none that gputui uses", width, "$muted")
    return Content("\n").join(lines)


def _key_facts(view: AccountView, width: int) -> list[Content]:
    info = view.account.info
    if not info.needs_key:
        return _fact("key", "none needed: it is simulated on this machine, and nothing is billed", width)
    served = view.key.served if view.key else None
    if served is not None and served.found is not None:
        last = served.found.last_characters
        end = f"…{last}, " if last else ""
        return _fact("key", f"{end}from {plain(homely(served.found.where))}", width)
    if view.account.key_source:
        return _fact("key", f"{plain(view.account.key_source)}, held in memory", width)
    lines = _fact("key", homely(plain((view.account.problem or "none")[:600])), width, "$state-waiting")
    lines += _fact("get one", plain(info.key_page), width)
    for position, rung in enumerate(view.key.rungs if view.key else ()):
        said = homely(f"{plain(rung.where)}: {plain(rung.reason[:300])}")
        lines += _fact("" if position else "looked in", said, width, "$muted")
    return lines


def _pace(view: AccountView) -> str:
    if view.pause_s is None:
        was_asked = view.status is not None and view.status.last_try_ms is not None
        return "no limit is known" if was_asked else "nothing asked yet"
    return f"it asks us to wait {view.pause_s:.0f} s more" if view.pause_s > 0 else "within its limits"


def _guard(view: AccountView) -> str:
    info = view.account.info
    if info.own_key is None:
        return f"agent-only: {info.title} gives machines no key to delete themselves with"
    return "armed: a machine deletes itself when nobody watches it any more"


def _abilities(view: AccountView, *, has: bool) -> str:
    return ", ".join(_CAN.get(name, name) for name, able in view.able.items() if able is has)


def _test(probes: Sequence[Probe], width: int) -> list[Content]:
    """Return the table of what works with the key."""
    lines = []
    for probe in probes:
        badge = _OUTCOMES[probe.outcome]
        took = "" if probe.took_ms is None else f"{probe.took_ms:,} ms"
        words = " ".join(filter(None, (plain(probe.detail[:600]), plain((probe.hint or "")[:300]))))
        lines.append(
            join(
                (f"   {badge.glyph} ", badge.style),
                (left(probe.name, 12), "" if probe.took_ms is not None else "$muted"),
                (left(badge.word, 13), badge.style),
                (f"{took:>9}  ", "$muted"),
                (words, "$state-failed" if probe.error else "$muted"),
            ).truncate(width, ellipsis=True)
        )
    return lines


def _fact(label: str, value: str, width: int, style: str = "") -> list[Content]:
    """Return a labelled text, wrapped under itself."""
    wrapped = styled(value, style).wrap(max(20, width - _LABEL - 4))
    heads = [label, *[""] * len(wrapped)]
    return [join((f"   {left(head, _LABEL)} ", "$muted"), text) for head, text in zip(heads, wrapped, strict=False)]
