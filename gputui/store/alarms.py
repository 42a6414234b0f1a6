"""What costs money and needs the user now. An alarm is open until what raised it says that it is over."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from gputui.model.units import MicroUsdPerHour, Ms
from gputui.store.db import Store, Tx


class AlarmKind(StrEnum):
    UNGUARDED = "unguarded"
    DISK_FULL = "disk-full"
    UNDYING = "undying"
    DEARER = "dearer"
    SWITCHED_OFF = "switched-off"
    LOST = "lost"
    KEY_REFUSED = "key-refused"
    OTHER_ACCOUNT = "other-account"
    NO_IDLE_STOP = "no-idle-stop"


@dataclass(frozen=True, slots=True)
class Alarm:
    """`subject` is what it is about: a machine's id or a provider. `rate` is what it costs meanwhile, None when unknown."""

    kind: AlarmKind
    subject: str
    message: str
    hint: str
    since_ms: Ms
    provider: str | None = None
    job_id: str | None = None
    rate_micro_usd_per_hour: MicroUsdPerHour | None = None


def keep_alarm(tx: Tx, alarm: Alarm) -> None:
    """Open an alarm, or renew what an open one of the same kind and subject says."""
    tx.execute(
        "INSERT INTO alarms (kind, subject, provider, job_id, message, hint, rate_micro_usd_per_hour, since_ms) VALUES "
        "(:kind, :subject, :provider, :job_id, :message, :hint, :rate_micro_usd_per_hour, :since_ms) "
        "ON CONFLICT (kind, subject) WHERE ended_ms IS NULL DO UPDATE SET message = :message, hint = :hint, "
        "rate_micro_usd_per_hour = :rate_micro_usd_per_hour",
        asdict(alarm),
    )


def end_alarm(tx: Tx, kind: AlarmKind, subject: str, *, now_ms: Ms) -> None:
    tx.execute(
        "UPDATE alarms SET ended_ms = ? WHERE kind = ? AND subject = ? AND ended_ms IS NULL",
        (now_ms, kind.value, subject),
    )


def load_open_alarms(store: Store) -> list[Alarm]:
    """Return the open alarms, oldest first."""
    rows = store.read(
        "SELECT kind, subject, message, hint, since_ms, provider, job_id, rate_micro_usd_per_hour FROM alarms "
        "WHERE ended_ms IS NULL ORDER BY since_ms"
    )
    return [Alarm(**{**dict(row), "kind": AlarmKind(row["kind"])}) for row in rows]
