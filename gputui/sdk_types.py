"""What the SDK returns: plain records with money as `Decimal` dollars and moments as aware `datetime`. Unknown is None."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from gputui.model.units import MICRO, MicroUsd, Ms

if TYPE_CHECKING:
    from gputui.core.catalog import PriceRow
    from gputui.core.desk import MachineRow
    from gputui.core.reports import JobReport
    from gputui.core.resources import KeyRow
    from gputui.core.routing import Plan, Quote
    from gputui.core.volume_wishes import VolumeRow
    from gputui.model.volumes import VolumeOrder


@dataclass(frozen=True, slots=True)
class Price:
    """The cheapest offer of one GPU model at one provider. `price` is dollars per GPU and hour; `stock` high, low or none."""

    gpu_model: str
    price: Decimal
    provider: str
    vram_gib: int | None
    stock: str | None
    region: str | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class OfferInfo:
    """Something that can be rented now. `price` is dollars per machine and hour.

    `effective_price` is that of an hour of useful work, boot time, rounding and minimum charge included.
    """

    id: str
    provider: str
    gpu_model: str
    gpu_count: int
    vram_gib: int | None
    vcpus: int | None
    ram_gib: int | None
    region: str | None
    tier: str
    price: Decimal
    effective_price: Decimal
    stock: str | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that fits a job, and what the whole job is expected to cost there, in dollars."""

    offer: OfferInfo
    expected_total: Decimal


@dataclass(frozen=True, slots=True)
class Loser:
    """An offer of the right GPU that does not fit: where, at what price, and why not."""

    provider: str
    gpu_model: str
    gpu_count: int
    region: str | None
    price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """What a job would run on. `candidates` are in the order they would be tried; `not_asked` maps provider -> why."""

    candidates: tuple[Candidate, ...]
    losers: tuple[Loser, ...]
    not_asked: dict[str, str]

    @property
    def best(self) -> Candidate | None:
        """Return the candidate that would be tried first, None when nothing fits."""
        return self.candidates[0] if self.candidates else None


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """A machine that exists at a provider. `job_id` is None for one that belongs to no job of this profile."""

    id: str
    provider: str
    state: str
    label: str | None
    is_ours: bool
    job_id: str | None
    gpu_model: str | None
    gpu_count: int | None
    region: str | None
    price: Decimal | None
    ip: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """Storage at a provider. `price` is dollars a month for all of it, None where that is not told."""

    id: str
    provider: str
    name: str
    size_gib: int | None
    region: str | None
    kind: str | None
    price: Decimal | None
    is_ours: bool
    attached_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SshKeyInfo:
    """A public key and the providers it is registered at. `fingerprint` is None where nobody tells it."""

    name: str
    fingerprint: str | None
    providers: tuple[str, ...]


class JobView(ABC):
    """What can be read of a job, for `Job` and `AsyncJob`. Money is dollars as `Decimal`, moments are UTC."""

    @abstractmethod
    def _facts(self) -> JobReport:
        """Return the job as it is to be shown now."""

    @property
    def id(self) -> str:
        return self._facts().job.id

    @property
    def name(self) -> str:
        return self._facts().job.name

    @property
    def status(self) -> str:
        """Return queued, provisioning, running, completed, failed or stopped. The last three are final: the machine is gone."""
        return self._facts().job.status.value

    @property
    def is_over(self) -> bool:
        return self._facts().job.status.is_final

    @property
    def phase(self) -> str:
        """Return in a few words what is going on right now."""
        return self._facts().job.phase

    @property
    def provider(self) -> str | None:
        """Return where it runs or last ran, else where it was asked to run."""
        report = self._facts()
        return report.placement.provider if report.placement else report.job.spec.provider

    @property
    def gpu_type(self) -> str:
        """Return the GPU model it got, else the one asked for."""
        report = self._facts()
        return report.placement.offer.gpu if report.placement else report.job.spec.gpu

    @property
    def gpu_count(self) -> int:
        return self._facts().job.spec.gpu_count

    @property
    def image(self) -> str | None:
        return self._facts().job.spec.image

    @property
    def command(self) -> str | None:
        return self._facts().job.spec.command

    @property
    def cost_per_hour(self) -> Decimal | None:
        """Return the price of its machine; None before one is chosen."""
        return dollars_or_none(self._facts().rate_micro_usd_per_hour)

    @property
    def cost(self) -> Decimal:
        """Return what it cost so far; the true bill is within `cost_uncertainty` of it."""
        return dollars(self._facts().job.cost_micro_usd)

    @property
    def cost_uncertainty(self) -> Decimal:
        return dollars(self._facts().job.cost_uncertainty_micro_usd)

    @property
    def exit_code(self) -> int | None:
        """Return the workload's exit code, None while it runs or when it never had one."""
        return self._facts().job.exit_code

    @property
    def error(self) -> str | None:
        return self._facts().job.error

    @property
    def created_at(self) -> datetime:
        return moment(self._facts().job.created_at_ms)

    @property
    def started_at(self) -> datetime | None:
        return moment_or_none(self._facts().job.started_at_ms)

    @property
    def ended_at(self) -> datetime | None:
        return moment_or_none(self._facts().job.ended_at_ms)

    def __repr__(self) -> str:
        report = self._facts()
        return f"<{type(self).__name__} {report.job.name} {report.job.status.value} {report.job.id}>"


def dollars(micro: MicroUsd) -> Decimal:
    """Return micro-dollars as exact dollars."""
    return Decimal(micro) / MICRO


def dollars_or_none(micro: MicroUsd | None) -> Decimal | None:
    return None if micro is None else dollars(micro)


def moment(ms: Ms) -> datetime:
    """Return milliseconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def moment_or_none(ms: Ms | None) -> datetime | None:
    return None if ms is None else moment(ms)


def prices_of(rows: list[PriceRow]) -> list[Price]:
    """Return one record per GPU model and provider."""
    return [
        Price(
            gpu_model=row.gpu,
            price=dollars(cell.price_micro_usd_per_gpu_hour),
            provider=cell.provider,
            vram_gib=row.vram_gib,
            stock=cell.stock.value if cell.stock else None,
            region=cell.region,
            fetched_at=moment(cell.fetched_at_ms),
        )
        for row in rows
        for cell in row.cells.values()
    ]


def offer_of(quote: Quote) -> OfferInfo:
    """Return an offer as people read it."""
    offer = quote.offer
    return OfferInfo(
        id=offer.id,
        provider=offer.provider,
        gpu_model=offer.gpu,
        gpu_count=offer.gpu_count,
        vram_gib=offer.vram_gib,
        vcpus=offer.vcpus,
        ram_gib=offer.ram_gib,
        region=offer.region,
        tier=offer.tier.value,
        price=dollars(offer.price_micro_usd_per_hour),
        effective_price=dollars(quote.effective_micro_usd_per_hour),
        stock=offer.stock.value if offer.stock else None,
        fetched_at=moment(offer.fetched_at_ms),
    )


def route_of(plan: Plan) -> Route:
    """Return a plan as people read it."""
    return Route(
        candidates=tuple(Candidate(offer_of(quote), dollars(quote.total_micro_usd)) for quote in plan.quotes),
        losers=tuple(
            Loser(
                provider=rejection.offer.provider,
                gpu_model=rejection.offer.gpu,
                gpu_count=rejection.offer.gpu_count,
                region=rejection.offer.region,
                price=dollars(rejection.offer.price_micro_usd_per_hour),
                reason=rejection.reason,
            )
            for rejection in plan.rejections
        ),
        not_asked=dict(plan.unavailable),
    )


def machine_of(row: MachineRow) -> MachineInfo:
    """Return a machine as people read it."""
    machine = row.machine
    return MachineInfo(
        id=machine.id,
        provider=machine.provider,
        state=machine.state.value,
        label=machine.label,
        is_ours=row.is_ours,
        job_id=row.placement.job_id if row.placement else None,
        gpu_model=machine.gpu,
        gpu_count=machine.gpu_count,
        region=machine.region,
        price=dollars_or_none(machine.price_micro_usd_per_hour),
        ip=machine.ip,
        created_at=moment_or_none(machine.created_at_ms),
    )


def volume_of(row: VolumeRow) -> VolumeInfo:
    """Return a volume as people read it."""
    volume = row.volume
    return VolumeInfo(
        id=volume.id,
        provider=volume.provider,
        name=row.name,
        size_gib=volume.size_gib,
        region=volume.region,
        kind=volume.kind,
        price=dollars_or_none(volume.price_micro_usd_per_month),
        is_ours=row.is_ours,
        attached_to=volume.attached_to,
    )


def volume_made(order: VolumeOrder) -> VolumeInfo:
    """Return the volume that an order made."""
    return VolumeInfo(
        id=order.volume_id or "",
        provider=order.provider,
        name=order.name,
        size_gib=order.size_gib,
        region=order.region,
        kind=order.kind,
        price=dollars_or_none(order.price_micro_usd_per_month),
        is_ours=True,
    )


def ssh_key_of(row: KeyRow) -> SshKeyInfo:
    """Return a registered key as people read it."""
    return SshKeyInfo(row.name, row.fingerprint, tuple(row.at))
