"""What the simulated RunPod remembers beside machines: pods' settings, keys, volumes and request counts, by account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.runpod import money
from gputui.sim.runpod.data import GpuModel
from gputui.sim.world import Account, World

PROVIDER = "runpod"

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a container is made from, in force from `from_ms` on."""

    from_ms: int
    image: str
    args: str
    env: Mapping[str, str]
    ports: tuple[str, ...]
    disk_gb: int
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """Where storage is mounted: a network volume by its id, or so many GB of the host's own."""

    path: str
    volume_id: str | None = None
    size_gb: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """A container was or will be restarted; `wipes` when its disk is lost."""

    at_ms: int
    wipes: bool


@dataclass(slots=True)
class Pod:
    """RunPod's side of a machine.

    `pull_ms` is from when until when its image is pulled. `container_after_ms` is how long after it first runs its container
    starts, None for never; `later_after_ms` the same for each time it is started again. `disk_prices` holds (from when,
    dollars per hour) of its disks while it runs. `restart_every_ms` and `restart_times` are restarts out of the blue after its
    first start. `log_gap` says which third of a job's output is lost.
    """

    machine: SimMachine
    gpu: GpuModel
    cloud: str
    settings: list[Settings]
    mount: Mount | None
    cuda: str | None
    host_token: str
    disk_prices: list[tuple[int, Decimal]]
    public_port: int
    pull_ms: tuple[int, int]
    later_after_ms: int
    container_after_ms: int | None
    has_public_ports: bool = True
    restart_every_ms: int = 0
    restart_times: int = 0
    restart_wipes: bool = False
    no_final_newline: bool = False
    log_gap: str = ""
    restarts: list[Restart] = field(default_factory=list)
    is_locked: bool = False
    has_global_network: bool = False

    @property
    def now(self) -> Settings:
        return self.settings[-1]

    @property
    def count(self) -> int:
        return self.machine.units

    @property
    def persistent_gb(self) -> int:
        return self.mount.size_gb if self.mount else 0


def pod_of(machine: SimMachine) -> Pod:
    """Return RunPod's side of a machine."""
    pod = machine.details["pod"]
    assert isinstance(pod, Pod)
    return pod


@dataclass(slots=True)
class Volume:
    """A network volume. `sizes` holds (from when, GB)."""

    id: str
    name: str
    data_center: str
    kind: str
    created_ms: int
    sizes: list[tuple[int, int]]
    deleted_ms: int | None = None

    @property
    def size_gb(self) -> int:
        return self.sizes[-1][1]


@dataclass(slots=True)
class Tenant:
    """One account at RunPod. `windows` holds, by window, when it began and how many requests were made in it."""

    world: World
    account: Account
    user_id: str
    ssh_keys: list[str] = field(default_factory=list)
    volumes: dict[str, Volume] = field(default_factory=dict)
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)

    def living(self) -> Iterator[Pod]:
        """Yield the pods that are not terminated."""
        self.world.settle()
        now_ms = self.world.now_ms()
        return (pod_of(machine) for machine in self.account.machines if exists(machine, now_ms))

    def living_volumes(self) -> list[Volume]:
        return [volume for volume in self.volumes.values() if volume.deleted_ms is None]

    def volumes_usd(self, now_ms: int) -> Decimal:
        """Return what the network volumes have cost."""
        by = self.world.faults.choice("runpod_volumes_billed_by")
        return sum((money.volume_bill_usd(volume, now_ms, by) for volume in self.volumes.values()), Decimal(0))

    def usd_per_hour(self, now_ms: int) -> Decimal:
        """Return what everything there is costs now."""
        pods = sum((money.rate_usd(pod, now_ms) for pod in self.living()), Decimal(0))
        return pods + sum((money.volume_usd_per_hour(volume, now_ms) for volume in self.living_volumes()), Decimal(0))


class RunPodState:
    """Every account at the simulated RunPod, found by key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tenants: dict[str, Tenant] = {}

    def pod_of_key(self, key: str) -> SimMachine | None:
        """Return the pod whose own key this is."""
        pods = (machine for machine in self.world.machines.values() if machine.provider == PROVIDER)
        return next((pod for pod in pods if pod.environ.get("RUNPOD_API_KEY") == key), None)

    def tenant(self, key: str) -> Tenant | None:
        """Return the account of a key; None for an unknown key."""
        account = self.world.account(PROVIDER, key)
        if account is None:
            return None
        if account.id not in self._tenants:
            tenant = Tenant(self.world, account, f"user_{new_id(self.world, 20)}")
            account.other_usd = tenant.volumes_usd
            self._tenants[account.id] = tenant
        return self._tenants[account.id]


def exists(machine: SimMachine, now_ms: int) -> bool:
    """Say whether a pod exists for its owner: a terminated one is gone at once."""
    return machine.is_alive(now_ms) and machine.life(now_ms) is not Life.DELETING and not machine.is_vanished(now_ms)


def new_id(world: World, length: int) -> str:
    """Return an id of lower-case letters and digits, the same for the same seed and history."""
    number = int(world.new_hex(2 * length), 16)
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
