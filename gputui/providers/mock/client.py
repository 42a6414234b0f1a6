"""Client for the mock cloud. Nothing it does leaves this machine or costs anything."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gputui.model.clock import Clock
from gputui.model.errors import ProviderError, ShellError
from gputui.model.states import MachineState
from gputui.model.types import Balance, CreateRequest, Machine, Offer, Region, SshKey
from gputui.providers.base import KeyCheck, ShellResult
from gputui.providers.mock.catalogue import LISTINGS, PROVIDER, REGIONS, offer_of
from gputui.providers.mock.cloud import MockCloud
from gputui.providers.registry import ClientContext
from gputui.sim.shell import SimHost, SimShell


class MockClient:
    """The mock account. Implements Provider, ResendsCreate, HasBalance, HasSshKeys, HasRegions and OpensShell."""

    name = PROVIDER
    create_is_idempotent = True

    def __init__(self, context: ClientContext) -> None:
        self._clock = context.clock
        self.cloud = MockCloud(context.state_dir, context.clock)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    async def check_key(self) -> KeyCheck:
        """Say that no key is needed."""
        return KeyCheck(self.name, ok=True, identity="this machine", detail="needs no key")

    async def fetch_balance(self) -> Balance:
        """Return the play money that is left."""
        return Balance(self.name, self.cloud.balance_micro_usd(), self._clock.now_ms())

    async def fetch_offers(self) -> list[Offer]:
        """Return the whole invented stock at the prices of this hour."""
        now_ms = self._clock.now_ms()
        return [offer_of(listing, now_ms) for listing in LISTINGS.values()]

    async def create(self, request: CreateRequest) -> Machine:
        """Make a machine; see `MockCloud.create` for the variables that steer it."""
        return await self.cloud.create(request)

    async def get(self, machine_id: str) -> Machine:
        """Return one machine. Raises Gone when there is none."""
        return self.cloud.machine(machine_id)

    async def list_machines(self) -> list[Machine]:
        """Return every machine that is not gone."""
        return self.cloud.machines()

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Begin to delete a machine. Raises Gone when there is none."""
        await self.cloud.terminate(machine_id)

    async def list_regions(self) -> list[Region]:
        """Return the invented places."""
        return list(REGIONS)

    async def list_ssh_keys(self) -> list[SshKey]:
        """Return the keys that were added. They open nothing."""
        return self.cloud.ssh_keys()

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        """Keep a public key; the same name and key again is the same entry."""
        key_id = "key-" + hashlib.sha256(f"{name}\0{public_key}".encode()).hexdigest()[:12]
        key = SshKey(key_id, self.name, name, public_key=public_key)
        await self.cloud.add_ssh_key(key)
        return key

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a key. Raises Gone when there is none."""
        await self.cloud.delete_ssh_key(key_id)

    async def open_shell(self, machine: Machine) -> MockShell:
        """Return a shell on a machine; each call looks anew whether it runs. Raises ShellError when it does not now."""
        if self.cloud.state(machine.id) is not MachineState.RUNNING:
            raise ShellError("The mock machine does not run.")
        return MockShell(self.cloud, machine.id, self._clock)


class MockShell:
    """A `Shell` on a mock machine, whose disk and processes live in the cloud's file, not in this process."""

    def __init__(self, cloud: MockCloud, machine_id: str, clock: Clock) -> None:
        self._cloud = cloud
        self._machine_id = machine_id
        self._clock = clock
        self._is_closed = False

    async def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Store a file. Raises ShellError when the machine does not run or has no place for it."""
        async with self._shell() as shell:
            await shell.put(path, content, mode=mode)

    async def run(self, argv: Sequence[str], *, timeout_s: float = 30.0) -> ShellResult:
        """Answer a command as a machine would; nothing is executed. Raises ShellError when the machine does not run."""
        async with self._shell() as shell:
            return await shell.run(argv, timeout_s=timeout_s)

    async def close(self) -> None:
        """Refuse further calls."""
        self._is_closed = True

    @asynccontextmanager
    async def _shell(self) -> AsyncIterator[SimShell]:
        """Lend a shell on the machine as it is in the file now, and keep what it changes."""
        try:
            async with self._cloud.host(self._machine_id) as (state, record):
                is_reachable = state is MachineState.RUNNING and not self._is_closed
                host = SimHost.from_json(record)
                yield SimShell(host, self._clock, lambda: is_reachable)
                record.update(host.to_json())
        except ProviderError as error:
            raise ShellError(error.message, hint=error.hint) from None
