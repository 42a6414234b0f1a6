"""What the simulated Lambda remembers beside machines: keys, filesystems, firewall rules and audit events, by account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gputui.sim.machine import SimMachine
from gputui.sim.world import Account, World

PROVIDER = "lambda"


@dataclass(frozen=True, slots=True)
class StoredSshKey:
    """A public key as registered: `text` is what was sent, `line` the OpenSSH line it stands for."""

    id: str
    name: str
    text: str
    line: str


@dataclass(frozen=True, slots=True)
class StoredFilesystem:
    """A filesystem. `used_gib` lies on it from its creation on."""

    id: str
    name: str
    region: str
    created_ms: int
    used_gib: float

    @property
    def mount_point(self) -> str:
        """Where it is mounted unless a launch says otherwise."""
        return f"/lambda/nfs/{self.name}"


@dataclass(slots=True)
class StoredRuleset:
    """A regional firewall ruleset."""

    id: str
    name: str
    region: str
    rules: list[dict[str, Any]]
    created_ms: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done to a resource of the account."""

    id: str
    at_ms: int
    resource: str
    action: str
    resource_id: str
    details: dict[str, Any]


@dataclass(slots=True)
class Tenant:
    """One account at Lambda, with the one workspace that its key sees."""

    world: World
    account: Account
    id: str
    workspace_id: str
    user_id: str
    api_key_id: str
    ssh_keys: dict[str, StoredSshKey] = field(default_factory=dict)
    filesystems: dict[str, StoredFilesystem] = field(default_factory=dict)
    rulesets: dict[str, StoredRuleset] = field(default_factory=dict)
    global_rules: list[dict[str, Any]] = field(default_factory=list)
    events: list[AuditEvent] = field(default_factory=list)

    def living(self) -> Iterator[SimMachine]:
        """Yield the instances that are not terminated."""
        self.world.settle()
        now_ms = self.world.now_ms()
        return (machine for machine in self.account.machines if machine.is_alive(now_ms))

    def record(self, resource: str, action: str, resource_id: str, **details: Any) -> None:
        """Write an audit event."""
        self.events.append(
            AuditEvent(self.world.new_hex(32), self.world.now_ms(), resource, action, resource_id, details)
        )


class LambdaState:
    """Every account at the simulated Lambda, found by key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tenants: dict[str, Tenant] = {}

    def tenant(self, key: str) -> Tenant | None:
        """Return the account of a key; None for an unknown key."""
        world = self._world
        account = world.account(PROVIDER, key)
        if account is None:
            return None
        if account.id not in self._tenants:
            account.is_prepaid = False
            self._tenants[account.id] = Tenant(
                world,
                account,
                id=world.new_hex(32),
                workspace_id=world.new_hex(32),
                user_id=world.new_hex(32),
                api_key_id=world.new_hex(32),
                global_rules=[
                    {
                        "protocol": "tcp",
                        "port_range": [22, 22],
                        "source_network": "0.0.0.0/0",
                        "description": "SSH from anywhere",
                    },
                    {"protocol": "icmp", "source_network": "0.0.0.0/0", "description": "ping"},
                ],
            )
        return self._tenants[account.id]
