"""Amounts and rates for people: dollars, right places, never cut."""

from __future__ import annotations

from gputui.model.units import MicroUsd, MicroUsdPerHour, format_usd


def price(rate: MicroUsdPerHour | None) -> str:
    """Return a market price such as "2.29"; four places for cheap things, where two would hide the difference."""
    places = 4 if rate is not None and 0 < rate < 100_000 else 2
    return format_usd(rate, places=places)


def rate(micro_usd_per_hour: MicroUsdPerHour | None) -> str:
    """Return "$2.29/h"."""
    return "–" if micro_usd_per_hour is None else f"${price(micro_usd_per_hour)}/h"


def amount(micro_usd: MicroUsd | None, *, places: int = 2) -> str:
    """Return "$3.59"."""
    return "–" if micro_usd is None else f"${format_usd(micro_usd, places=places)}"


def spent(micro_usd: MicroUsd) -> str:
    """Return a running cost: four places below ten dollars, so that it can be seen to move."""
    return amount(micro_usd, places=4 if micro_usd < 10_000_000 else 2)


def uncertainty(micro_usd: MicroUsd) -> str:
    """Return " ± $0.0042", empty when the cost is exact."""
    return f" ± {amount(micro_usd, places=4)}" if micro_usd else ""
