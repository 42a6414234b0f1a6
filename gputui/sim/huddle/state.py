"""What the simulated Huddle remembers beside machines: keys, volumes, webhooks and waitlist requests, by account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gputui.sim.gate import Answer
from gputui.sim.machine import SimMachine
from gputui.sim.world import Account, World

PROVIDER = "huddle"


@dataclass(slots=True)
class StoredSshKey:
    """A public key as registered; `line` is the OpenSSH line itself."""

    id: str
    name: str
    line: str
    fingerprint: str
    key_type: str
    created_ms: int


@dataclass(slots=True)
class StoredApiKey:
    """A key of the account. The secret itself is kept only by the authentication table."""

    id: str
    name: str
    prefix: str
    created_ms: int
    revoked_ms: int | None = None


@dataclass(slots=True)
class StoredVolume:
    """A volume; its status follows from its machine and the clock."""

    id: str
    name: str
    size_gb: int
    type: str
    location: str
    created_ms: int
    machine: SimMachine | None = None
    is_os_volume: bool = False
    is_stuck: bool = False
    deleted_ms: int | None = None


@dataclass(slots=True)
class StoredWebhook:
    """A subscription; its secret was shown once and is not needed again."""

    id: str
    url: str
    events: list[str]
    is_active: bool
    created_ms: int
    updated_ms: int


@dataclass(slots=True)
class WaitRequest:
    """A place in the waitlist. `location` is empty for any region; `config` is set with auto-deploy."""

    id: str
    cluster_type: str
    location: str
    auto_deploy: bool
    config: dict[str, Any] | None
    created_ms: int
    updated_ms: int
    status: str = "waiting"


@dataclass(slots=True)
class StoredAnswer:
    """What an idempotency key stands for: the request's body and its answer, None while the call still runs."""

    body: bytes
    begun_ms: int
    answer: Answer | None = None


@dataclass(slots=True)
class Tenant:
    """One account at Huddle."""

    world: World
    account: Account
    ssh_keys: dict[str, StoredSshKey] = field(default_factory=dict)
    api_keys: dict[str, StoredApiKey] = field(default_factory=dict)
    volumes: dict[str, StoredVolume] = field(default_factory=dict)
    webhooks: dict[str, StoredWebhook] = field(default_factory=dict)
    waitlist: dict[str, WaitRequest] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], StoredAnswer] = field(default_factory=dict)


class HuddleState:
    """Every account at the simulated Huddle, found by key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tenants: dict[str, Tenant] = {}
        self._keys: dict[str, tuple[Tenant, StoredApiKey]] = {}

    def tenant(self, key: str) -> Tenant | None:
        """Return the account of a key; None for a key that is unknown or revoked."""
        if key not in self._keys:
            account = self.world.account(PROVIDER, key)
            if account is None:
                return None
            tenant = Tenant(self.world, account)
            self._tenants[account.id] = tenant
            self._remember(tenant, "default", key, prefix=key[:9])
        tenant, stored = self._keys[key]
        return tenant if stored.revoked_ms is None else None

    def tenants(self) -> list[Tenant]:
        """Return every account, oldest first."""
        return list(self._tenants.values())

    def mint_key(self, tenant: Tenant, name: str) -> tuple[StoredApiKey, str]:
        """Make another key of an account and return it with its secret."""
        secret = f"mk_{self.world.new_hex(64)}"
        return self._remember(tenant, name, secret, prefix=secret[:9]), secret

    def _remember(self, tenant: Tenant, name: str, secret: str, *, prefix: str) -> StoredApiKey:
        stored = StoredApiKey(self.world.new_id(), name, prefix, self.world.now_ms())
        tenant.api_keys[stored.id] = stored
        self._keys[secret] = (tenant, stored)
        return stored
