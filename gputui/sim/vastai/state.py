"""What the simulated Vast.ai remembers beside machines: contracts, keys, volumes and logs, by account."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.vastai.market import HOURS_PER_MONTH, PROVIDER, Listing, Market
from gputui.sim.world import Account, World

_FIRST_CONTRACT_ID = 36_717_044


@dataclass(slots=True)
class Contract:
    """An instance: what was asked for, and what became of it beyond its machine's timeline.

    `runtype` is as it was sent. `waits_for` is "start" for a start that found no GPU, "bid" for an interruptible instance
    that was outbid, else empty. `relaunched_ms` is when it last was started, rebooted or recycled (`relaunch_shows` then).
    `rival` is a higher bid from outside for its machine: dollars per hour, from when and until when.
    `pulls` are (when it is done, GB) of its image's downloads.
    """

    id: int
    machine: SimMachine
    listing: Listing
    ask_id: int
    image: str
    label: str | None
    disk_gb: float
    runtype: str
    env: tuple[tuple[str, str], ...]
    onstart: str | None
    args: tuple[str, ...]
    is_bid: bool
    end_ms: int
    storage_usd_per_hour: Decimal
    traffic_usd_per_hour: Decimal
    down_gb_per_hour: float
    up_gb_per_hour: float
    jupyter_token: str
    ssh_key_ids: set[int] = field(default_factory=set)
    is_stop_wanted: bool = False
    is_image_missing: bool = False
    is_stop_stuck: bool = False
    waits_for: str = ""
    relaunched_ms: int | None = None
    relaunch_shows: str = "exited"
    rival: tuple[Decimal, int, float] | None = None
    pulls: list[tuple[int, float]] = field(default_factory=list)

    @property
    def gpu_usd_per_hour(self) -> Decimal:
        """Return the present price of its GPUs: the bid of an interruptible one."""
        return self.machine.prices[-1][1] - self.storage_usd_per_hour - self.traffic_usd_per_hour

    @property
    def words(self) -> list[str]:
        return self.runtype.split()

    @property
    def has_ssh(self) -> bool:
        return "args" not in self.words

    @property
    def command(self) -> str:
        """What the container runs where it is not Vast.ai's own start-up."""
        return " ".join([*([self.onstart] if self.onstart else []), *self.args])

    @property
    def has_jupyter(self) -> bool:
        return "jupyter" in self.runtype

    @property
    def is_direct(self) -> bool:
        return any("_direc" in word for word in self.words)


@dataclass(slots=True)
class StoredSshKey:
    """A public key of the account, or one that only instances have."""

    id: int
    line: str
    created_ms: int
    is_of_account: bool = True


@dataclass(slots=True)
class StoredVolume:
    """A local volume. `contract` is the instance that mounts it."""

    id: int
    listing: Listing
    name: str | None
    size_gb: int
    created_ms: int
    end_ms: int
    contract: Contract | None = None
    deleted_ms: int | None = None

    @property
    def usd_per_hour(self) -> Decimal:
        return self.listing.volume_usd_per_gb_month * self.size_gb / HOURS_PER_MONTH

    def bill_usd(self, now_ms: int) -> Decimal:
        """Return what it has cost: it is billed from creation to deletion, mounted or not."""
        until_ms = now_ms if self.deleted_ms is None else min(now_ms, self.deleted_ms)
        return self.usd_per_hour * max(0, until_ms - self.created_ms) / 3_600_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do: `permissions` by category, None for everything; `contract_id` for an instance's own key."""

    id: int
    name: str
    permissions: Mapping[str, Any] | None = None
    contract_id: int | None = None


@dataclass(slots=True)
class Tenant:
    """One account at Vast.ai. `unpaid` is the credit paid in when it last was all owed, and since when it was."""

    world: World
    account: Account
    id: int
    contracts: dict[int, Contract] = field(default_factory=dict)
    ssh_keys: dict[int, StoredSshKey] = field(default_factory=dict)
    volumes: dict[int, StoredVolume] = field(default_factory=dict)
    api_keys: dict[int, ApiKey] = field(default_factory=dict)
    unpaid: tuple[Decimal, int] | None = None

    def account_keys(self) -> list[StoredSshKey]:
        return [key for key in self.ssh_keys.values() if key.is_of_account]

    def key_lines(self, contract: Contract) -> tuple[str, ...]:
        return tuple(key.line for key in self.ssh_keys.values() if key.id in contract.ssh_key_ids)

    def volumes_usd(self, now_ms: int) -> Decimal:
        return sum((volume.bill_usd(now_ms) for volume in self.volumes.values()), Decimal(0))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the account, the key's text and what the key may do."""

    tenant: Tenant
    key: ApiKey
    secret: str


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log's file, readable from a moment on."""

    content: bytes
    ready_ms: int


class VastState:
    """Every account at the simulated Vast.ai, the market they share, and the files at the public address."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.market = Market(world)
        self.files: dict[str, LogFile] = {}
        self._tenants: dict[str, Tenant] = {}
        self._keys: dict[str, tuple[Tenant, ApiKey]] = {}
        self._by_machine: dict[str, Contract] = {}
        self._last_id = 5_000
        self._id_random = random.Random(f"vastai-ids:{world.seed}")
        self._last_contract_id = _FIRST_CONTRACT_ID - 1

    def caller(self, secret: str) -> Caller | None:
        """Return the account of a key; None for a key that is unknown or deleted."""
        if secret not in self._keys:
            account = self.world.account(PROVIDER, secret)
            if account is None:
                return None
            self._remember(self.tenant_of(account), secret, ApiKey(self.new_id(), "default"))
        tenant, key = self._keys[secret]
        return Caller(tenant, key, secret) if key.id in tenant.api_keys else None

    def tenant_of(self, account: Account) -> Tenant:
        if account.id not in self._tenants:
            tenant = Tenant(self.world, account, self.new_id())
            account.other_usd = tenant.volumes_usd
            self._tenants[account.id] = tenant
        return self._tenants[account.id]

    def mint_key(self, tenant: Tenant, name: str, permissions: Mapping[str, Any] | None) -> tuple[ApiKey, str]:
        """Make another key of an account and return it with its secret."""
        key, secret = ApiKey(self.new_id(), name, permissions), self.world.new_hex(64)
        self._remember(tenant, secret, key)
        return key, secret

    def mint_instance_key(self, tenant: Tenant, contract_id: int) -> str:
        """Make the key that an instance gets, good for that instance alone, and return its secret."""
        secret = self.world.new_hex(64)
        self._remember(tenant, secret, ApiKey(self.new_id(), f"instance {contract_id}", None, contract_id))
        return secret

    def new_id(self) -> int:
        """Return the next id of a small thing: a key, a user, a volume."""
        self._last_id += self._id_random.randint(1, 40)
        return self._last_id

    def new_contract_id(self) -> int:
        self._last_contract_id += self._id_random.randint(1, 40)
        return self._last_contract_id

    def add(self, tenant: Tenant, contract: Contract) -> None:
        tenant.contracts[contract.id] = contract
        self._by_machine[contract.machine.id] = contract

    def of_machine(self, machine: SimMachine) -> Contract:
        return self._by_machine[machine.id]

    def holder(self, listing: Listing) -> Contract | None:
        """Return the contract that holds a listing's hardware now."""
        machine = self.market.holders().get(listing.instance.name)
        return self.of_machine(machine) if machine is not None else None

    def on_listing(self, listing: Listing) -> list[Contract]:
        """Return every contract there ever was on a listing."""
        return [item for item in self._by_machine.values() if item.listing.index == listing.index]

    def living(self, tenant: Tenant) -> list[Contract]:
        """Return an account's instances that are not destroyed, oldest first."""
        self.world.settle()
        now_ms = self.world.now_ms()
        return [item for item in tenant.contracts.values() if is_living(item.machine, now_ms)]

    def volumes(self) -> list[StoredVolume]:
        """Return every volume of every account."""
        return [volume for tenant in self._tenants.values() for volume in tenant.volumes.values()]

    def waiting(self) -> list[Contract]:
        """Return the contracts that wait for their GPU, those with the best claim first: on demand, then by bid."""
        now_ms = self.world.now_ms()
        waiting = [
            item for item in self._by_machine.values() if item.waits_for and item.machine.life(now_ms) is Life.RELEASED
        ]
        return sorted(waiting, key=lambda item: (item.is_bid, -item.gpu_usd_per_hour, item.id))

    def _remember(self, tenant: Tenant, secret: str, key: ApiKey) -> None:
        tenant.api_keys[key.id] = key
        self._keys[secret] = (tenant, key)


def gives_way(holder: Contract | None, now_ms: int) -> bool:
    """Say whether a listing can be had from who holds it: from nobody, or from an interruptible instance."""
    return holder is None or (holder.is_bid and is_living(holder.machine, now_ms))


def is_living(machine: SimMachine, now_ms: int) -> bool:
    """Say whether an instance exists for its owner: a destroyed one is gone at once."""
    return machine.is_alive(now_ms) and machine.life(now_ms) is not Life.DELETING
