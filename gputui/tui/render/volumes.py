"""Volumes for people: how large, where, what they cost, and who has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from gputui.model.units import Ms, format_age
from gputui.model.volumes import VolumeOrderState
from gputui.tui.render import money
from gputui.tui.render.columns import Column
from gputui.tui.render.text import UNKNOWN, join, plain, rule
from gputui.tui.volume_book import VolumeView, price_in_all

_UNKNOWN_OUTCOME = "the reply got lost: it may exist and cost money; the agent is looking for it"


def columns(title: Callable[[str], str], now_ms: Ms) -> list[Column[VolumeView]]:
    """Return the columns of the list of volumes."""
    return [
        Column("volume", 18, 0, lambda view: (view.name, ""), grows=True),
        Column("provider", 12, 1, lambda view: (title(view.provider), "")),
        Column("GiB", 10, 2, lambda view: (_size(view), ""), is_right=True),
        Column("region", 13, 4, lambda view: (view.region or UNKNOWN, "$muted")),
        Column("kind", 12, 6, lambda view: ((view.row.volume.kind if view.row else None) or UNKNOWN, "$muted")),
        Column("$/month", 12, 1, _price, is_right=True),
        Column("used by", 22, 1, _use),
        Column("ours", 7, 5, lambda view: ("yes" if view.row is None or view.row.is_ours else "no", "$muted")),
        Column("age", 9, 7, lambda view: (_age(view, now_ms), "$muted"), is_right=True),
    ]


def _size(view: VolumeView) -> str:
    """Return the size, or what is used where that is what is billed."""
    if view.size_gib is not None:
        return f"{view.size_gib:,}"
    used_gib = view.row.volume.used_gib if view.row else None
    return UNKNOWN if used_gib is None else f"{used_gib:,.1f}"


def _price(view: VolumeView) -> tuple[str, str]:
    price = view.price_micro_usd_per_month
    if price is None:
        return UNKNOWN, "$faint"
    return money.amount(price).removeprefix("$"), "$state-waiting bold" if view.is_unused else "bold"


def _use(view: VolumeView) -> tuple[str, str]:
    if view.row is None and view.order is not None:
        if view.order.state is VolumeOrderState.OUTCOME_UNKNOWN:
            return "▲ may exist", "$state-failed bold"
        is_failed = view.order.is_over and not view.is_made
        return ("✕ not made", "$state-failed") if is_failed else ("◌ being made", "$state-waiting")
    if view.is_being_deleted:
        return "◌ being deleted", "$state-waiting"
    if view.users:
        return f"● {', '.join(view.users)}", "$state-running"
    if view.is_wanted:
        return "◐ wanted by a job", "$state-running"
    return ("▲ unused", "$state-waiting") if view.is_unused else ("○ nothing", "$muted")


def _age(view: VolumeView, now_ms: Ms) -> str:
    since_ms = view.row.volume.created_at_ms if view.row else (view.order.created_at_ms if view.order else None)
    return UNKNOWN if since_ms is None else format_age(now_ms - since_ms)


def summaries(views: Sequence[VolumeView]) -> list[Content]:
    """Return what all volumes cost, and the unused ones of them; the fullest first."""
    if not views:
        return []
    price, unknown = price_in_all(views)
    more = f" and {unknown} of unknown price" if unknown else ""
    whole = join((money.amount(price), "bold"), (f" a month{more}", "$muted"))
    unused = [view for view in views if view.is_unused]
    if not unused:
        return [whole]
    wasted = join((f"▲ {len(unused)} unused: {money.amount(price_in_all(unused)[0])} a month", "$state-waiting bold"))
    return [join(wasted, "   ", whole), wasted]


def detail(view: VolumeView, *, now_ms: Ms, width: int, title: Callable[[str], str]) -> Content:
    """Return what is known of the volume under the cursor."""
    use, style = _use(view)
    head = join((plain(view.name[:400]), "bold"), (" at ", "$muted"), (title(view.provider), "bold"))
    lines = [rule(head, width, right_title=join((plain(use[:60]), style)))]
    lines += [_fact(label, text, style) for label, text, style in _facts(view, now_ms)]
    return Content("\n").join([line.truncate(width, ellipsis=True) for line in lines])


def _facts(view: VolumeView, now_ms: Ms) -> list[tuple[str, str, str]]:
    facts: list[tuple[str, str, str]] = []
    order = view.order
    if view.row is None and order is not None:
        if view.is_made:
            facts.append(("order", "made just now; its provider is asked for it", ""))
        elif order.is_over:
            facts.append(("not made", plain((order.error or "the provider refused it")[:400]), "$state-failed"))
        elif order.state is VolumeOrderState.OUTCOME_UNKNOWN:
            facts.append(("order", _UNKNOWN_OUTCOME, "$state-failed"))
        else:
            facts.append(("order", f"asked for {format_age(now_ms - order.created_at_ms)} ago; the agent makes it", ""))
        if order.error and not order.is_over:
            facts.append(("trouble", plain(order.error[:400]), "$state-waiting"))
        return facts
    if view.row is None:
        return facts
    volume = view.row.volume
    price = view.price_micro_usd_per_month
    costs = "costs what its provider does not tell" if price is None else f"costs {money.amount(price)} a month"
    if view.is_being_deleted:
        facts.append(("use", f"it {costs} until it is gone" if price != 0 else "it costs nothing", ""))
    elif view.is_unused:
        facts.append(("use", f"unused: it {costs} until it is deleted", "$state-waiting"))
    elif view.users:
        facts.append(("use", f"{', '.join(plain(user[:60]) for user in view.users)} has it", ""))
    elif view.is_wanted:
        facts.append(("use", "a live job is ordered with it", ""))
    else:
        facts.append(("use", "nothing has it, and it costs nothing", ""))
    if view.surprise and not view.is_being_deleted:
        facts.append(("price", plain(view.surprise[:400]), "$state-failed"))
    state = f"   {plain(volume.raw_state[:60])}" if volume.raw_state else ""
    where = f"   at {plain(volume.mount_path[:60])} in a machine" if volume.mount_path else ""
    facts.append(("volume", f"{plain(volume.id[:100])}{state}{where}", ""))
    label = "" if volume.name == view.name else f", called {plain(volume.name[:80])} there"
    strange = "not ordered here as a volume: it may belong to the machine" if view.users else "not made by this profile"
    whose = "made by this profile" if view.row.is_ours else strange
    facts.append(("whose", f"{whose}{label}", ""))
    if order is not None:
        asked = f"asked for {format_age(now_ms - order.created_at_ms)} ago"
        if order.is_over:
            facts.append(("deletion", f"refused: {plain((order.error or 'no reason told')[:400])}", "$state-failed"))
        else:
            trouble = f": {plain(order.error[:400])}" if order.error else ""
            facts.append(("deletion", f"{asked}{trouble}", "$state-waiting"))
    return facts


def _fact(label: str, value: str, style: str) -> Content:
    return join((f"   {label:<10}", "$muted"), (value, style))
