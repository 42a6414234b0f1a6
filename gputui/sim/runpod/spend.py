"""The spend history: what was spent in each hour, day, week, month or year, UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.runpod import money
from gputui.sim.runpod.data import HIGH_PERFORMANCE
from gputui.sim.runpod.errors import Invalid, refused
from gputui.sim.runpod.fields import query_time_ms, query_whole, query_word
from gputui.sim.runpod.stamps import stamp
from gputui.sim.runpod.state import Tenant, Volume, pod_of

_SIZES = ("hour", "day", "week", "month", "year")
_DEFAULT_DAYS = 30
_NANO = Decimal("0.000000001")
_ACCOUNT_AMOUNTS = (
    "podGpuAmount", "podCpuAmount", "podDiskAmount", "serverlessGpuAmount", "serverlessCpuAmount", "serverlessDiskAmount",
    "serverlessFeeAmount", "storageStandardAmount", "storageHighPerformanceAmount", "endpointAmount", "clusterGpuAmount",
    "clusterDiskAmount", "clusterNetworkingAmount",
)  # fmt: skip

Amounts = dict[str, Decimal]
Meter = Callable[[int], Amounts]
"""Tells what something has cost up to a moment, by kind."""


@dataclass(frozen=True, slots=True)
class _Query:
    """What is asked for: whole buckets from `start_ms` until `end_ms`, of which `known_ms` is as far as charges are known."""

    start_ms: int
    end_ms: int
    known_ms: int
    size: str

    def buckets(self) -> Iterator[tuple[int, int]]:
        begin_ms = self.start_ms
        while begin_ms < self.end_ms:
            end_ms = _after(begin_ms, self.size)
            yield begin_ms, end_ms
            begin_ms = end_ms


async def pods(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /billing/pods`: a record for each pod and bucket in which it cost something."""
    query, pod_id = _query(call), call.query("podId")

    def meter(machine_id: str) -> Meter:
        pod = pod_of(call.world.machines[machine_id])

        def amounts(at_ms: int) -> Amounts:
            gpu, disk = money.pod_bill_usd(pod, at_ms)
            return {"gpuAmount": gpu, "cpuAmount": Decimal(0), "diskAmount": disk}

        return amounts

    meters = {
        machine.id: (machine.created_ms, meter(machine.id))
        for machine in tenant.account.machines
        if pod_id in (None, machine.id)
    }
    kinds = ("gpuAmount", "cpuAmount", "diskAmount")
    return _answer(query, meters, kinds, "podId", pod_id, "uniquePodCount")


async def volumes(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /billing/network-volumes`."""
    query, volume_id = _query(call), call.query("networkVolumeId")
    meters = {
        volume.id: (volume.created_ms, _volume_meter(call, volume))
        for volume in tenant.volumes.values()
        if volume_id in (None, volume.id)
    }
    kinds = ("standardAmount", "highPerformanceAmount")
    return _answer(query, meters, kinds, "networkVolumeId", volume_id, "uniqueNetworkVolumeCount")


async def account(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /billing`: a record for each bucket in which anything cost something."""
    query = _query(call)
    stored = [_volume_meter(call, volume) for volume in tenant.volumes.values()]

    def meter(at_ms: int) -> Amounts:
        bills = [money.pod_bill_usd(pod_of(machine), at_ms) for machine in tenant.account.machines]
        disks = [amounts(at_ms) for amounts in stored]
        return {
            **dict.fromkeys(_ACCOUNT_AMOUNTS, Decimal(0)),
            "podGpuAmount": sum((gpu for gpu, _ in bills), Decimal(0)),
            "podDiskAmount": sum((disk for _, disk in bills), Decimal(0)),
            "storageStandardAmount": sum((item["standardAmount"] for item in disks), Decimal(0)),
            "storageHighPerformanceAmount": sum((item["highPerformanceAmount"] for item in disks), Decimal(0)),
        }

    return _answer(query, {"": (tenant.account.created_ms, meter)}, _ACCOUNT_AMOUNTS)


def _volume_meter(call: Call, volume: Volume) -> Meter:
    by = call.world.faults.choice("runpod_volumes_billed_by")

    def amounts(at_ms: int) -> Amounts:
        usd = money.volume_bill_usd(volume, at_ms, by)
        fast = volume.kind == HIGH_PERFORMANCE
        return {"standardAmount": Decimal(0) if fast else usd, "highPerformanceAmount": usd if fast else Decimal(0)}

    return amounts


def _answer(
    query: _Query,
    meters: Mapping[str, tuple[int, Meter]],
    kinds: tuple[str, ...],
    id_name: str = "",
    asked_id: str | None = None,
    count_name: str = "",
) -> Answer:
    """Answer the records of things by id, each with the moment it was made, oldest bucket first."""
    records: list[dict[str, Any]] = []
    totals = dict.fromkeys(kinds, Decimal(0))
    for begin_ms, end_ms in query.buckets():
        until_ms = min(end_ms, query.known_ms)
        for thing_id, (made_ms, meter) in meters.items():
            if until_ms <= max(begin_ms, made_ms):
                continue
            before, after = meter(begin_ms), meter(until_ms)
            spent = {kind: after[kind] - before[kind] for kind in kinds}
            if not any(spent.values()):
                continue
            totals = {kind: totals[kind] + spent[kind] for kind in kinds}
            named = {id_name: thing_id} if id_name else {}
            records.append({"startTime": stamp(begin_ms), "endTime": stamp(end_ms), **named, **_shown(spent)})
    asked = {"startTime": stamp(query.start_ms), "endTime": stamp(query.end_ms), "bucketSize": query.size}
    metadata: dict[str, Any] = {"query": asked, "recordCount": len(records), "totals": _shown(totals)}
    if asked_id is not None:
        asked[id_name] = asked_id
    if count_name:
        metadata[count_name] = len({record[id_name] for record in records})
    return Answer({"records": records, "metadata": metadata})


def _shown(amounts: Amounts) -> dict[str, float]:
    total = sum(amounts.values(), Decimal(0))
    return {name: float(usd.quantize(_NANO)) for name, usd in {"totalAmount": total, **amounts}.items()}


def _query(call: Call) -> _Query:
    """Return the window and bucket size that are asked for. Raises ApiError."""
    now_ms = call.world.now_ms()
    start_ms, end_ms = query_time_ms(call, "startTime"), query_time_ms(call, "endTime")
    size = query_word(call, "bucketSize", _SIZES) or "day"
    last = query_whole(call, "lastN", 1)
    if last is not None and (start_ms is not None or end_ms is not None):
        text = "lastN is mutually exclusive with startTime and endTime"
        raise Invalid([text]) if call.world.faults.choice("runpod_last_n_status") == "422" else refused(text)
    known_ms = now_ms - round(call.world.faults.number("runpod_billing_lag_s") * 1000)
    if last is not None:
        start_ms = _floor(now_ms, size)
        for _ in range(last - 1):
            start_ms = _floor(start_ms - 1, size)
        return _Query(start_ms, _after(_floor(now_ms, size), size), known_ms, size)
    end_ms = now_ms if end_ms is None else end_ms
    if start_ms is None:
        start_ms = now_ms - _DEFAULT_DAYS * 86_400_000
    snapped = _floor(end_ms, size)
    return _Query(_floor(start_ms, size), snapped if snapped == end_ms else _after(snapped, size), known_ms, size)


def _floor(at_ms: int, size: str) -> int:
    """Return the start of the bucket that a moment lies in; weeks begin on Monday."""
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC).replace(minute=0, second=0, microsecond=0)
    if size != "hour":
        at = at.replace(hour=0)
    if size == "week":
        at -= timedelta(days=at.weekday())
    elif size == "month":
        at = at.replace(day=1)
    elif size == "year":
        at = at.replace(month=1, day=1)
    return _ms(at)


def _after(begin_ms: int, size: str) -> int:
    """Return the end of the bucket that begins at a moment."""
    begin = datetime.fromtimestamp(begin_ms / 1000, tz=UTC)
    match size:
        case "hour":
            return begin_ms + 3_600_000
        case "day":
            return begin_ms + 86_400_000
        case "week":
            return begin_ms + 7 * 86_400_000
        case "month":
            return _ms(begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1))
    return _ms(begin.replace(year=begin.year + 1))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
