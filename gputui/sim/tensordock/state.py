"""What the simulated TensorDock remembers beside the world's machines: organizations, secrets, and each machine's form."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.tensordock.data import Host
from gputui.sim.world import Account, World

PROVIDER = "tensordock"


@dataclass(slots=True)
class Secret:
    """A stored secret. `kind` is SSHKEY, GENERIC or SECRET; the value of the last is never shown again."""

    id: str
    name: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Size:
    """What a machine takes of its host."""

    gpus: int
    vcpus: int
    ram_gb: int
    storage_gb: int


@dataclass(slots=True)
class Vm:
    """TensorDock's side of a machine. Its two prices are dollars per hour; `forwards` maps internal to external ports.

    `act` is the word shown since somebody asked for a start or a stop at `acted_ms`, until that is done.
    """

    host: Host
    size: Size
    compute_usd: Decimal
    storage_usd: Decimal
    image: str
    has_dedicated_ip: bool
    forwards: dict[int, int]
    gets_address: bool = True
    act: str = ""
    acted_ms: int = -1


def vm_of(machine: SimMachine) -> Vm:
    """Return TensorDock's side of a machine."""
    vm = machine.details["vm"]
    assert isinstance(vm, Vm)
    return vm


def rate_usd(machine: SimMachine, now_ms: int) -> Decimal:
    """Return what a machine costs now, dollars per hour: all of it, or its disk alone once its GPU is released."""
    if machine.billing_stopped_ms(now_ms) is not None:
        return Decimal(0)
    return vm_of(machine).storage_usd if machine.life(now_ms) is Life.RELEASED else machine.price_usd(now_ms)


@dataclass(slots=True)
class Tenant:
    """One organization. `asked_ms` holds when it made each request of the last minute."""

    world: World
    account: Account
    secrets: dict[str, Secret] = field(default_factory=dict)
    asked_ms: deque[int] = field(default_factory=deque)


class TensorDockState:
    """Every organization at the simulated TensorDock, found by token."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tenants: dict[str, Tenant] = {}

    def tenant(self, token: str) -> Tenant | None:
        """Return the organization of a token; None for a token that is not accepted."""
        account = self.world.account(PROVIDER, token)
        if account is None:
            return None
        return self._tenants.setdefault(account.id, Tenant(self.world, account))
