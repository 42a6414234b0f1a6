"""Money, time and sizes as integers with the unit in the name; rounding happens here and nowhere else.

Money is `int` micro-USD, a rate is micro-USD per hour, a moment is milliseconds since the epoch in UTC. Rounding is half
up and done once, where an interval closes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TypeAlias

from gputui.model.errors import UsageError

MicroUsd: TypeAlias = int
MicroUsdPerHour: TypeAlias = int
Ms: TypeAlias = int

MICRO = 1_000_000
HOUR_S = 3600
HOUR_MS = 3_600_000

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MAX_USD = Decimal(10) ** 9


def usd_to_micro(value: Decimal | str | int | float) -> MicroUsd:
    """Return micro-USD, half up. A float is read by its shortest decimal form, so 2.29 is exactly 2_290_000.

    Raises ValueError when the value is not a finite number.
    """
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {value!r}") from error
    if not amount.is_finite():
        raise ValueError(f"not a finite amount: {value!r}")
    return int((amount * MICRO).to_integral_value(rounding=ROUND_HALF_UP))


def parse_usd(text: str, *, field: str = "amount") -> MicroUsd:
    """Read what a person typed ("2.50", "$2.5", "0.40/h") as micro-USD.

    Raises UsageError for anything negative, absurd (over a thousand million dollars) or not a number.
    """
    cleaned = text.strip().lower().removesuffix("/h").removesuffix("/hr").strip().removeprefix("$").replace("_", "")
    try:
        amount = Decimal(cleaned)
    except InvalidOperation:
        raise UsageError(
            f"{field}: {text!r} is not an amount of dollars.", field=field, hint="Write it like 2.50."
        ) from None
    if not amount.is_finite() or amount > _MAX_USD:
        raise UsageError(f"{field}: {text!r} is not a sensible amount.", field=field)
    if amount < 0:
        raise UsageError(f"{field}: {text} is negative; give an amount of 0 or more.", field=field)
    return usd_to_micro(amount)


def micro_to_usd(micro: MicroUsd) -> str:
    """Return dollars as an exact decimal string without padding, for JSON: 2_290_000 -> "2.29", 0 -> "0.00"."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO)
    digits = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{digits.ljust(2, '0')}"


def format_usd(micro: MicroUsd | None, *, places: int = 2, unknown: str = "–") -> str:
    """Return dollars rounded half up to `places`, with thousands separators, for people; no currency sign."""
    if micro is None:
        return unknown
    amount = (Decimal(micro) / MICRO).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    return f"{amount:,}"


def div_half_up(numerator: int, denominator: int) -> int:
    """Divide integers and round half away from zero. `denominator` must be positive."""
    if numerator < 0:
        return -div_half_up(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def cost_of_seconds(rate_micro_usd_per_hour: MicroUsdPerHour, seconds: int) -> MicroUsd:
    """Return what `seconds` whole seconds cost at a rate, half up, in micro-USD."""
    return div_half_up(rate_micro_usd_per_hour * seconds, HOUR_S)


def cost_of_ms(rate_micro_usd_per_hour: MicroUsdPerHour, duration_ms: int) -> MicroUsd:
    """Return what a span in milliseconds costs at a rate, half up, in micro-USD."""
    return div_half_up(rate_micro_usd_per_hour * duration_ms, HOUR_MS)


def parse_duration(text: str, *, field: str = "duration") -> int:
    """Read "4h", "90m", "1h30m", "2d" or a bare number of seconds as whole seconds, at least 1.

    Raises UsageError when it cannot be read or is not positive.
    """
    cleaned = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+", cleaned):
        seconds = int(cleaned)
    else:
        parts = _DURATION_PART.findall(cleaned)
        if not parts or "".join(number + unit for number, unit in parts) != cleaned:
            raise UsageError(
                f"{field}: {text!r} is not a duration.", field=field, hint="Write it like 30m, 4h or 1h30m."
            )
        seconds = int(sum(Decimal(number) * _SECONDS[unit] for number, unit in parts))
    if not 1 <= seconds <= 366 * 86_400:
        raise UsageError(f"{field}: {text!r} must be between one second and a year.", field=field)
    return seconds


def format_duration(seconds: float | None, *, unknown: str = "–") -> str:
    """Return a span for people: "12 s", "4 min", "1:12:09", "3 d 4 h"."""
    if seconds is None:
        return unknown
    total = max(0, int(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        minutes, rest = divmod(total, 60)
        return f"{minutes}:{rest:02d} min"
    if total < 2 * 86_400:
        hours, rest = divmod(total, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
    days, rest = divmod(total, 86_400)
    return f"{days} d {rest // 3600} h"


def span(seconds: float | None, *, unknown: str = "–") -> str:
    """Return a span that somebody chose, in round words: "45 s", "10 min", "2 min 30 s", "4 h"; running clocks differ."""
    if seconds is None:
        return unknown
    total = round(seconds)
    parts = [(total // 86_400, "d"), (total // 3600 % 24, "h"), (total // 60 % 60, "min"), (total % 60, "s")]
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2]) or "0 s"


def short_duration(seconds: int) -> str:
    """Return a span as `parse_duration` reads it back: "1h30m", "2d"."""
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def format_age(age_ms: int | None, *, unknown: str = "never") -> str:
    """Return how long ago something was, short: "now", "12 s", "4 min", "3 h", "2 d"."""
    if age_ms is None:
        return unknown
    seconds = max(0, age_ms) // 1000
    for limit, divisor, unit in ((60, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds // divisor} {unit}"
    return f"{seconds // 86_400} d"


def iso_utc(ms: Ms | None) -> str | None:
    """Return an RFC 3339 UTC timestamp with milliseconds, or None."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def parse_iso_utc(text: str | None) -> Ms | None:
    """Read an RFC 3339 timestamp as milliseconds since the epoch; None when absent or unreadable."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
