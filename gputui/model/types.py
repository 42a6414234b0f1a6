"""The things this product is about, as frozen records. Unknown is `None`, never 0; the unit is in the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gputui.model.states import JobStatus, MachineState, PlacementState
from gputui.model.units import MicroUsd, MicroUsdPerHour, Ms


class Stock(StrEnum):
    """How likely an offer is to be there when asked for. Unknown stock is None on the offer."""

    HIGH = "high"
    LOW = "low"
    NONE = "none"


class Tier(StrEnum):
    """What kind of promise comes with the machine."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    SECURE = "secure"
    COMMUNITY = "community"


class JobKind(StrEnum):
    """`batch` runs a command and ends with it; `machine` is a box to SSH into until it is stopped."""

    BATCH = "batch"
    MACHINE = "machine"


class Priority(StrEnum):
    """What the router optimises for."""

    COST = "cost"
    SPEED = "speed"
    AVAILABILITY = "availability"


@dataclass(frozen=True, slots=True)
class Offer:
    """Something rentable now. The price is list price for the whole machine, all GPUs included.

    `id` is ours: stable for one provider, GPU type, region and tier, so that a refresh updates a row in place.
    `native` is what the provider's client needs to order it (JSON values only).
    """

    id: str
    provider: str
    gpu: str
    gpu_count: int
    price_micro_usd_per_hour: MicroUsdPerHour
    fetched_at_ms: Ms
    vram_gib: int | None = None
    vcpus: int | None = None
    ram_gib: int | None = None
    disk_gib: int | None = None
    region: str | None = None
    tier: Tier = Tier.ON_DEMAND
    stock: Stock | None = None
    reliability: float | None = None
    native: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What the user wants. `max_price_micro_usd_per_hour` caps list price per machine hour; `expected_s` is the guess
    that effective price is computed for; `max_duration_s` is enforced. `volumes` are names or ids at `provider`.
    The job is stopped once every GPU has been used less than `idle_threshold_percent` for `idle_stop_s` seconds."""

    gpu: str
    kind: JobKind = JobKind.BATCH
    gpu_count: int = 1
    image: str | None = None
    command: str | None = None
    name: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    provider: str | None = None
    region: str | None = None
    tier: Tier | None = None
    os_image: str | None = None
    disk_gib: int | None = None
    min_vram_gib: int | None = None
    max_price_micro_usd_per_hour: MicroUsdPerHour | None = None
    max_duration_s: int | None = None
    expected_s: int = 3600
    priority: Priority = Priority.COST
    volumes: tuple[str, ...] = ()
    idle_stop_s: int | None = None
    idle_threshold_percent: int = 5


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored. `outcome` is decided when the workload ends, `status` follows once the machine is proven gone."""

    id: str
    spec: JobSpec
    status: JobStatus
    phase: str
    created_at_ms: Ms
    name: str
    stop_requested_at_ms: Ms | None = None
    started_at_ms: Ms | None = None
    ended_at_ms: Ms | None = None
    outcome: JobStatus | None = None
    exit_code: int | None = None
    error: str | None = None
    error_code: str | None = None
    placement_id: str | None = None
    cost_micro_usd: MicroUsd = 0
    cost_uncertainty_micro_usd: MicroUsd = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """One attempt to run a job on one offer, written before the create call leaves.

    `label` is what we look for at the provider after a lost reply; `idempotency_key` is sent with every re-send of the
    create; `machine_id` is the provider's own id, known once the create is answered or the machine is adopted. `volumes`
    are what the machine is ordered with, as they were then. `key_print` is a fingerprint of the key it was ordered with and
    `account` the provider's own name for the account: whether another key may be believed that the machine is gone.
    `accepted_at` is when the machine came into our hands, which may be long after the order was first sent;
    `out_of_reach_ms` for how long it has not been reached while its provider answered, whichever agent tried.
    """

    id: str
    job_id: str
    attempt: int
    provider: str
    offer: Offer
    label: str
    idempotency_key: str
    nonce: str
    state: PlacementState
    created_at_ms: Ms
    price_ceiling_micro_usd_per_hour: MicroUsdPerHour | None = None
    agreed_price_micro_usd_per_hour: MicroUsdPerHour | None = None
    machine_id: str | None = None
    ssh_host: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None
    host_key: str | None = None
    requested_at_ms: Ms | None = None
    ready_at_ms: Ms | None = None
    running_at_ms: Ms | None = None
    terminating_at_ms: Ms | None = None
    gone_at_ms: Ms | None = None
    accepted_at_ms: Ms | None = None
    reason_code: str | None = None
    reason: str | None = None
    volumes: tuple[Volume, ...] = ()
    key_print: str | None = None
    account: str | None = None
    out_of_reach_ms: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One row of a job's timeline: what moved from where to where, and why. `facts` holds JSON values, no secrets."""

    id: int
    at_ms: Ms
    job_id: str
    placement_id: str | None
    kind: str
    state_from: str | None
    state_to: str | None
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Machine:
    """What exists at a provider, in our words. `raw_state` is the provider's own word; `price` is the machine's own.

    `billed` is the least and the most that its present state costs per hour, where the provider bills each state at a rate
    of its own (None: the price). `traffic` is what its traffic has cost so far by the provider's own counter, and
    `traffic_limit` the most that can grow by; None where traffic costs nothing.
    """

    id: str
    provider: str
    state: MachineState
    raw_state: str
    label: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    region: str | None = None
    price_micro_usd_per_hour: MicroUsdPerHour | None = None
    ip: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None
    created_at_ms: Ms | None = None
    started_at_ms: Ms | None = None
    billed_micro_usd_per_hour: tuple[MicroUsdPerHour, MicroUsdPerHour] | None = None
    traffic_micro_usd: MicroUsd | None = None
    traffic_limit_micro_usd_per_hour: MicroUsdPerHour | None = None

    @property
    def present_rate_micro_usd_per_hour(self) -> MicroUsdPerHour | None:
        """Return the most that it costs per hour as it is now, switched off perhaps; None when that is not told."""
        return self.billed_micro_usd_per_hour[1] if self.billed_micro_usd_per_hour else self.price_micro_usd_per_hour


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Everything a provider's client needs to order one machine. `ssh_public_key` is our own key for this profile.

    `image` is the container image for providers where the image is the machine; `os_image` the disk image elsewhere
    (None: the client picks a Docker-ready default). `argv` replaces the image's own command where the image is the
    machine. `resend` is True when this idempotency key may have been sent before: an earlier send may then have made the
    machine, whatever this one is answered. `volumes` are attached where the client can (`AttachesVolumesAtCreate`).
    """

    offer: Offer
    label: str
    idempotency_key: str
    ssh_public_key: str
    image: str | None = None
    os_image: str | None = None
    command: str | None = None
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    disk_gib: int | None = None
    nonce: str = ""
    max_duration_s: int | None = None
    resend: bool = False
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """Credit at a provider; None where it does not tell."""

    provider: str
    balance_micro_usd: MicroUsd | None
    fetched_at_ms: Ms


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key registered at a provider. `fingerprint` is `SHA256:…` where the provider gives it."""

    id: str
    provider: str
    name: str
    fingerprint: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class OsImage:
    """A disk image that a VM provider can boot. `value` is what the create call takes."""

    provider: str
    value: str
    name: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """A place where machines stand. `country` is an ISO 3166 two-letter code where known."""

    provider: str
    code: str
    name: str
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """Storage that outlives machines. `price` is for the whole volume and month; `raw_state` is the provider's own word.

    `attached_to` holds machine ids; `used_gib` is set where the provider bills what is used rather than what is reserved.
    `mount_path` is where a machine that is ordered with it has it; `host` the one host whose machines can.
    """

    id: str
    provider: str
    name: str
    raw_state: str
    size_gib: int | None = None
    used_gib: float | None = None
    region: str | None = None
    kind: str | None = None
    price_micro_usd_per_month: MicroUsd | None = None
    attached_to: tuple[str, ...] = ()
    created_at_ms: Ms | None = None
    mount_path: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class WaitlistEntry:
    """A wish to be told when a sold-out machine type can be had again. `raw_state` is the provider's own word.

    `machine_type` is the provider's name for it; `region` None means any. `auto_deploys` is True where the provider then
    orders the machine by itself, which spends money unattended; None where it does not tell.
    """

    id: str
    provider: str
    machine_type: str
    raw_state: str
    region: str | None = None
    auto_deploys: bool | None = None
    created_at_ms: Ms | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that a provider calls when something happens. `events` are the provider's own names."""

    id: str
    provider: str
    url: str
    events: tuple[str, ...] = ()
    is_active: bool | None = None
    created_at_ms: Ms | None = None


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook just made, with the secret its calls are signed with, which is never told again."""

    webhook: Webhook
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key to a provider's account, without its secret. `prefix` is how the secret begins, for telling keys apart.

    `is_own` is True when the client that listed it seems, by that prefix, to be using this very key.
    """

    id: str
    provider: str
    name: str
    prefix: str | None = None
    is_own: bool = False
    created_at_ms: Ms | None = None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key just made, with its secret, which is never told again."""

    api_key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a provider's own bill, for reconciling. `machine_id` is None for what is not a machine's."""

    provider: str
    amount_micro_usd: MicroUsd
    from_ms: Ms
    to_ms: Ms
    what: str
    machine_id: str | None = None


class BillingStart(StrEnum):
    """When a provider's clock starts."""

    RUNNING = "running"  # when the machine first runs
    ORDERED_OR_RUNNING = "ordered-or-running"  # the provider does not say which of the two; both edges are kept
    BY_STATE = "by-state"  # from the order on, each state at its own rate; the machine tells the one it has now


@dataclass(frozen=True, slots=True)
class BillingRule:
    """How a provider turns a machine's life into money.

    `granularity_s` and `minimum_s` are whole seconds. All of them bill until they accept the deletion. Where a provider
    hides the exact second, the interval keeps both edges.
    `source` names the document the rule was taken from.
    """

    granularity_s: int
    minimum_s: int
    starts: BillingStart
    source: str


@dataclass(frozen=True, slots=True)
class UsageInterval:
    """One span at one rate for one thing: the ledger's row.

    The provider's own clock started somewhere in [start_earliest, start_latest] and stopped in [end_earliest,
    end_latest]; both ends are None while the interval is open. A closed interval's cost never changes.
    `minimum_low_s` is set where less than `minimum_s` may be left of the minimum; None: that.
    `rate_low` is set while nobody tells whether the machine is billed at all; None: the rate. `rate_is_assumed` while the
    machine has not told its price, which may be anything up to the rate. Where the provider counts
    by itself (traffic), `metered` is what its counter said at `last_seen` and the rate is the most it can grow by.
    """

    id: int
    job_id: str
    placement_id: str
    provider: str
    resource: str
    rate_micro_usd_per_hour: MicroUsdPerHour
    granularity_s: int
    minimum_s: int
    start_earliest_ms: Ms
    start_latest_ms: Ms | None
    last_seen_ms: Ms
    end_earliest_ms: Ms | None = None
    end_latest_ms: Ms | None = None
    cost_low_micro_usd: MicroUsd | None = None
    cost_high_micro_usd: MicroUsd | None = None
    close_reason: str | None = None
    rate_low_micro_usd_per_hour: MicroUsdPerHour | None = None
    metered_micro_usd: MicroUsd | None = None
    minimum_low_s: int | None = None
    rate_is_assumed: bool = False
