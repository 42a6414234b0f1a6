"""Records as JSON: the shapes that every face of this product shows. Pure.

Keys are stable. Money is a decimal string in US dollars, a moment is RFC 3339 in UTC with milliseconds, unknown is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gputui.core.guards import guard_of, idle_guard_of
from gputui.model.errors import GputuiError
from gputui.model.types import Balance, Event, Offer, Placement
from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms, iso_utc, micro_to_usd
from gputui.model.vitals import Vitals

if TYPE_CHECKING:
    from gputui.core.accounts import Account
    from gputui.core.agent_link import AgentState
    from gputui.core.catalog import PriceRow
    from gputui.core.desk import MachineRow
    from gputui.core.metering import Cost
    from gputui.core.reports import JobReport, UsageRow
    from gputui.core.routing import Plan, Quote
    from gputui.store.alarms import Alarm
    from gputui.store.findings import Finding
    from gputui.store.offers import ProviderStatus

Shape = dict[str, Any]


def ok_envelope(data: Any) -> Shape:
    """Return `{"status": "ok", "data": …}`."""
    return {"status": "ok", "data": data}


def error_envelope(error: GputuiError) -> Shape:
    """Return `{"status": "error", "error": sentence, "code": stable word}`."""
    return {"status": "error", "error": str(error), "code": error.code}


def usd(micro: MicroUsd | None) -> str | None:
    """Return an exact decimal string, None for unknown."""
    return None if micro is None else micro_to_usd(micro)


def job_shape(report: JobReport) -> Shape:
    """Return a job. `provider` and `gpu` are what it got, or what was asked for while nothing is placed."""
    job, placement = report.job, report.placement
    return {
        "id": job.id,
        "status": job.status.value,
        "phase": job.phase,
        "kind": job.spec.kind.value,
        "provider": placement.provider if placement else job.spec.provider,
        "gpu": placement.offer.gpu if placement else job.spec.gpu,
        "gpu_count": job.spec.gpu_count,
        "image": job.spec.image,
        "command": job.spec.command,
        "cost_per_hour_usd": usd(report.rate_micro_usd_per_hour),
        "cost_usd": usd(job.cost_micro_usd),
        "cost_uncertainty_usd": usd(job.cost_uncertainty_micro_usd),
        "created_at": iso_utc(job.created_at_ms),
        "started_at": iso_utc(job.started_at_ms),
        "ended_at": iso_utc(job.ended_at_ms),
        "exit_code": job.exit_code,
        "error": job.error,
        "machine": _placed_machine(placement),
        "guard": _guard_shape(report),
        "gpu_use": _gpu_use(report.vitals),
    }


def _guard_shape(report: JobReport) -> Shape:
    """Return what limits a job, and who ends its machine where nobody watches: `state` is null before the machine told."""
    spec, placement = report.job.spec, report.placement
    guard = guard_of(spec, placement.provider, report.vitals) if placement else None
    idle = idle_guard_of(spec, report.vitals)
    return {
        "state": guard.word if guard else None,
        "why": guard.why if guard else None,
        "max_duration_s": spec.max_duration_s,
        "max_price_per_hour_usd": usd(spec.max_price_micro_usd_per_hour),
        "idle_stop": idle
        and {
            "after_s": spec.idle_stop_s,
            "below_percent": spec.idle_threshold_percent,
            "possible": idle.problem is None,
            "problem": idle.problem,
            "idle_s": idle.idle_s,
        },
    }


def _gpu_use(vitals: Vitals | None) -> Shape | None:
    """Return the newest figures of the busiest GPU, null before there are any."""
    if vitals is None or vitals.gpu_at_ms is None or vitals.gpu_total_mib is None:
        return None
    return {
        "at": iso_utc(vitals.gpu_at_ms),
        "percent": vitals.gpu_percent,
        "memory_used_mib": vitals.gpu_used_mib,
        "memory_total_mib": vitals.gpu_total_mib,
        "watts": vitals.gpu_watts,
    }


def _placed_machine(placement: Placement | None) -> Shape | None:
    """Return the machine of a placement, null before there is one; a machine that is gone has no address any more."""
    if placement is None or placement.machine_id is None:
        return None
    reachable = not placement.state.is_final
    return {
        "id": placement.machine_id,
        "ip": placement.ssh_host if reachable else None,
        "ssh": ssh_command(placement.ssh_host, placement.ssh_port, placement.ssh_user) if reachable else None,
    }


def ssh_command(host: str | None, port: int | None, user: str | None) -> str | None:
    """Return what to type to log in, without the key; None while there is no address."""
    if not host:
        return None
    return f"ssh{f' -p {port}' if port and port != 22 else ''} {f'{user}@' if user else ''}{host}"


def offer_shape(offer: Offer, *, effective_micro_usd_per_hour: MicroUsdPerHour | None) -> Shape:
    """Return an offer. Prices are per machine and hour; `effective` counts boot, rounding and minimum for one hour of work."""
    return {
        "id": offer.id,
        "provider": offer.provider,
        "gpu": offer.gpu,
        "gpu_count": offer.gpu_count,
        "vram_gib": offer.vram_gib,
        "vcpus": offer.vcpus,
        "ram_gib": offer.ram_gib,
        "region": offer.region,
        "tier": offer.tier.value,
        "price_per_hour_usd": usd(offer.price_micro_usd_per_hour),
        "effective_per_hour_usd": usd(effective_micro_usd_per_hour),
        "stock": offer.stock.value if offer.stock else None,
        "fetched_at": iso_utc(offer.fetched_at_ms),
    }


def price_shapes(rows: Iterable[PriceRow]) -> list[Shape]:
    """Return one flat row per GPU model and provider, each the cheapest offer there, per GPU and hour."""
    return [
        {
            "gpu": row.gpu,
            "vram_gib": row.vram_gib,
            "provider": cell.provider,
            "price_per_gpu_hour_usd": usd(cell.price_micro_usd_per_gpu_hour),
            "is_best": cell is row.best,
            "stock": cell.stock.value if cell.stock else None,
            "region": cell.region,
            "offer_id": cell.offer_id,
            "offer_count": cell.offer_count,
            "fetched_at": iso_utc(cell.fetched_at_ms),
        }
        for row in rows
        for cell in row.cells.values()
    ]


def quote_shape(quote: Quote) -> Shape:
    """Return a candidate: its offer and what the whole run is expected to cost there."""
    offer = offer_shape(quote.offer, effective_micro_usd_per_hour=quote.effective_micro_usd_per_hour)
    return {"offer": offer, "expected_total_usd": usd(quote.total_micro_usd)}


def plan_shape(plan: Plan) -> Shape:
    """Return the candidates in the order they are tried, why every other offer lost, and who could not be asked."""
    return {
        "priority": plan.spec.priority.value,
        "expected_s": plan.spec.expected_s,
        "chosen": quote_shape(plan.quotes[0]) if plan.quotes else None,
        "candidates": [quote_shape(quote) for quote in plan.quotes],
        "rejected": [
            {
                "offer": offer_shape(rejection.offer, effective_micro_usd_per_hour=None),
                "constraint": rejection.constraint,
                "reason": rejection.reason,
            }
            for rejection in plan.rejections
        ],
        "not_asked": [{"provider": name, "reason": reason} for name, reason in plan.unavailable.items()],
        "volumes": [{"id": volume.id, "name": volume.name, "mount_path": volume.mount_path} for volume in plan.volumes],
    }


def event_shape(event: Event) -> Shape:
    """Return one row of a job's timeline."""
    return {
        "id": event.id,
        "at": iso_utc(event.at_ms),
        "job_id": event.job_id,
        "placement_id": event.placement_id,
        "kind": event.kind,
        "from": event.state_from,
        "to": event.state_to,
        "why": event.why,
        "facts": dict(event.facts),
    }


def machine_shape(row: MachineRow) -> Shape:
    """Return a machine that exists at a provider; `job_id` is null for one that no job of ours belongs to."""
    machine = row.machine
    return {
        "id": machine.id,
        "provider": machine.provider,
        "state": machine.state.value,
        "raw_state": machine.raw_state,
        "label": machine.label,
        "is_ours": row.is_ours,
        "job_id": row.placement.job_id if row.placement else None,
        "gpu": machine.gpu,
        "gpu_count": machine.gpu_count,
        "region": machine.region,
        "price_per_hour_usd": usd(machine.present_rate_micro_usd_per_hour),
        "ip": machine.ip,
        "ssh": ssh_command(machine.ip, machine.ssh_port, machine.ssh_user),
        "created_at": iso_utc(machine.created_at_ms),
    }


def usage_shape(rows: Iterable[UsageRow], *, since_ms: Ms, total: Cost) -> Shape:
    """Return what each job cost since a moment, and the sum."""
    return {
        "since": iso_utc(since_ms),
        "total_usd": usd(total.micro_usd),
        "total_uncertainty_usd": usd(total.uncertainty_micro_usd),
        "jobs": [
            {
                "job_id": row.job.id,
                "name": row.job.name,
                "status": row.job.status.value,
                "provider": row.provider,
                "gpu": row.gpu,
                "gpu_count": row.job.spec.gpu_count,
                "billed_from": iso_utc(row.billed_from_ms),
                "billed_to": iso_utc(row.billed_to_ms),
                "cost_usd": usd(row.cost.micro_usd),
                "cost_uncertainty_usd": usd(row.cost.uncertainty_micro_usd),
            }
            for row in rows
        ],
    }


def balance_shape(balance: Balance) -> Shape:
    """Return the credit at a provider."""
    return {
        "provider": balance.provider,
        "balance_usd": usd(balance.balance_micro_usd),
        "fetched_at": iso_utc(balance.fetched_at_ms),
    }


def provider_shape(account: Account, status: ProviderStatus | None, capabilities: Mapping[str, bool]) -> Shape:
    """Return an account: whether it can be used and why not, what it can do, how its last refresh went."""
    rule = account.info.billing
    return {
        "provider": account.info.name,
        "title": account.label,
        "usable": account.usable,
        "problem": account.problem,
        "key_source": account.key_source,
        "offer_count": status.offer_count if status else 0,
        "fetched_at": iso_utc(status.last_ok_ms if status else None),
        "refresh_error": status.error if status else None,
        "capabilities": dict(capabilities),
        "billing": {
            "granularity_s": rule.granularity_s,
            "minimum_s": rule.minimum_s,
            "starts": rule.starts,
            "source": rule.source,
        },
    }


def agent_shape(state: AgentState, *, alive_jobs: int) -> Shape:
    """Return whether an agent watches this profile."""
    return {
        "condition": state.condition.value,
        "pid": state.pid,
        "beat_at": iso_utc(state.beat_ms),
        "version": state.version,
        "providers_with_keys": sorted(state.accounts),
        "alive_jobs": alive_jobs,
    }


def finding_shape(finding: Finding) -> Shape:
    """Return a finding of a sweep as JSON values."""
    return {
        "kind": finding.kind.value,
        "provider": finding.provider,
        "id": finding.id,
        "label": finding.label,
        "state": finding.state,
        "price_per_hour_usd": usd(finding.rate_micro_usd_per_hour),
        "price_per_month_usd": usd(finding.price_micro_usd_per_month),
        "sightings": finding.sightings,
        "first_seen_at": iso_utc(finding.first_seen_ms),
        "last_seen_at": iso_utc(finding.last_seen_ms),
    }


def alarm_shape(alarm: Alarm) -> Shape:
    """Return an alarm as JSON values."""
    return {
        "kind": alarm.kind.value,
        "subject": alarm.subject,
        "provider": alarm.provider,
        "job_id": alarm.job_id,
        "message": alarm.message,
        "hint": alarm.hint,
        "costs_per_hour_usd": usd(alarm.rate_micro_usd_per_hour),
        "since": iso_utc(alarm.since_ms),
    }
