"""What the mock cloud remembers, and its form as JSON. Pure: what a record means now follows from the time handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gputui.model.states import MachineState
from gputui.model.types import Machine, SshKey
from gputui.model.units import HOUR_MS, MicroUsd, MicroUsdPerHour, Ms, cost_of_seconds
from gputui.providers.mock.catalogue import PROVIDER

FORMAT = 1
DELETE_MS = 1_000
FORGET_AFTER_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class MockMachine:
    """A machine as ordered; what it is now follows from the time. `host` is the simulated disk and processes, as JSON."""

    id: str
    label: str
    gpu: str
    gpu_count: int
    region: str
    price_micro_usd_per_hour: MicroUsdPerHour
    created_at_ms: Ms
    running_at_ms: Ms
    terminated_at_ms: Ms | None = None
    host: Mapping[str, Any] = field(default_factory=dict)

    def state(self, now_ms: Ms) -> MachineState:
        """Return its state at a moment."""
        if self.terminated_at_ms is not None:
            return MachineState.GONE if now_ms >= self.terminated_at_ms + DELETE_MS else MachineState.DELETING
        return MachineState.RUNNING if now_ms >= self.running_at_ms else MachineState.PENDING

    def bill_micro_usd(self, now_ms: Ms) -> MicroUsd:
        """Return its true cost so far: every started second from running until the terminate call."""
        until_ms = now_ms if self.terminated_at_ms is None else self.terminated_at_ms
        seconds = -(-max(0, until_ms - self.running_at_ms) // 1000)
        return cost_of_seconds(self.price_micro_usd_per_hour, seconds)

    def as_machine(self, now_ms: Ms) -> Machine:
        """Return it in everyone's words. Its address leads nowhere (RFC 5737): it is reached in-process, not by SSH."""
        state = self.state(now_ms)
        has_booted = self.running_at_ms <= now_ms
        return Machine(
            id=self.id,
            provider=PROVIDER,
            state=state,
            raw_state=state.value,
            label=self.label,
            gpu=self.gpu,
            gpu_count=self.gpu_count,
            region=self.region,
            price_micro_usd_per_hour=self.price_micro_usd_per_hour,
            ip=f"192.0.2.{1 + int(self.id[-8:], 16) % 254}" if has_booted else None,
            ssh_port=22,
            ssh_user="root",
            created_at_ms=self.created_at_ms,
            started_at_ms=self.running_at_ms if has_booted else None,
        )


@dataclass(frozen=True, slots=True)
class Refusals:
    """The creates that one workload was refused on purpose, by idempotency key, and when the last was."""

    keys: tuple[str, ...]
    last_ms: Ms


@dataclass(slots=True)
class CloudState:
    """Everything the mock cloud knows. `settled_micro_usd` is the bill of the machines it has forgotten."""

    machines: dict[str, MockMachine] = field(default_factory=dict)
    ssh_keys: dict[str, SshKey] = field(default_factory=dict)
    refusals: dict[str, Refusals] = field(default_factory=dict)
    settled_micro_usd: MicroUsd = 0

    def tidy(self, now_ms: Ms) -> None:
        """Drop the disks of machines that are gone and, a day later, the machines, keeping their bill."""
        for machine in list(self.machines.values()):
            if machine.terminated_at_ms is None or not machine.state(now_ms).is_gone:
                continue
            self.machines[machine.id] = replace(machine, host={})
            if now_ms >= machine.terminated_at_ms + FORGET_AFTER_MS:
                self.settled_micro_usd += machine.bill_micro_usd(now_ms)
                del self.machines[machine.id]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "format": FORMAT,
            "machines": [_members(machine) for machine in self.machines.values()],
            "ssh_keys": [_members(key) for key in self.ssh_keys.values()],
            "refusals": {name: _members(refusals) for name, refusals in self.refusals.items()},
            "settled_micro_usd": self.settled_micro_usd,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CloudState:
        """Return what `to_json` described. Raises KeyError, TypeError or ValueError for anything else."""
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        machines = [MockMachine(**record) for record in document["machines"]]
        ssh_keys = [SshKey(**record) for record in document["ssh_keys"]]
        return cls(
            machines={machine.id: machine for machine in machines},
            ssh_keys={key.id: key for key in ssh_keys},
            refusals={
                name: Refusals(tuple(record["keys"]), record["last_ms"])
                for name, record in document["refusals"].items()
            },
            settled_micro_usd=document["settled_micro_usd"],
        )


def _members(record: MockMachine | SshKey | Refusals) -> dict[str, Any]:
    """Return a record's members as they are; `dataclasses.asdict` copies everything and takes most of a save's time."""
    return {name: getattr(record, name) for name in record.__slots__}
