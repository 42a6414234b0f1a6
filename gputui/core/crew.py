"""What every driver of the agent works with, in one bundle: store, accounts, clock, and how machines are reached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from gputui.core.accounts import Accounts
from gputui.core.alarms import AlarmBook
from gputui.core.journal import Journal, LostRace
from gputui.core.runner.protocol import EndCalls
from gputui.local.config import Config
from gputui.local.paths import Paths
from gputui.local.ssh import ensure_key_pair, open_ssh_shell
from gputui.model.clock import Clock
from gputui.model.errors import AuthError, GputuiError, SecretsError, ShellError
from gputui.model.ids import Ids
from gputui.model.types import BillingRule, Machine, Placement
from gputui.providers.base import OpensShell, Provider, Shell
from gputui.providers.registry import provider_info
from gputui.store import agents as agent_store
from gputui.store.db import Store

# How often a key that was refused is looked for again; a look into the keyring can take seconds.
KEY_LOOK_EVERY_S = 60.0

# Opens a shell on a machine by its id, in-process: how the simulated world stands in for SSH.
ShellOpener = Callable[[str], Awaitable[Shell]]

DEFAULT_SSH_USER = "root"


@dataclass(slots=True)
class Crew:
    """One agent's tools. Everything that differs between the real world and a simulated one comes in here."""

    store: Store
    accounts: Accounts
    clock: Clock
    ids: Ids
    config: Config
    paths: Paths
    shell_openers: Mapping[str, ShellOpener] = field(default_factory=dict)
    epoch: int = 0  # this agent's, once it is registered
    journal: Journal = field(init=False)
    alarms: AlarmBook = field(init=False)
    _keys_looked_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal = Journal(self.store, self.clock)
        self.alarms = AlarmBook(self.store, self.clock)

    def check_in_charge(self) -> None:
        """Raise LostRace once another agent has taken over: of what lies in no store, only one may write."""
        if self.epoch and agent_store.is_replaced(self.store, self.epoch):
            raise LostRace("Another agent has taken over.")

    def client(self, provider: str) -> Provider:
        """Return a provider's client. Raises AuthError when there is no key, SecretsError when a store is locked."""
        return self.accounts.client(provider)

    async def heard(self, provider: str, error: GputuiError | TimeoutError | None) -> None:
        """Take in how a provider answered a question about a machine (None: well), for the alarm about its key.

        A key that was refused is looked for again now and then: another one may have been put in its place.
        """
        self.alarms.heard(provider, error)
        if isinstance(error, (AuthError, SecretsError)):
            now_s = asyncio.get_running_loop().time()
            if now_s - self._keys_looked_s.get(provider, float("-inf")) >= KEY_LOOK_EVERY_S:
                self._keys_looked_s[provider] = now_s
                await self.accounts.look_again(provider)

    def billing(self, provider: str) -> BillingRule:
        return provider_info(provider).billing

    def boot_timeout_s(self, provider: str) -> int:
        """Return how long a machine of a provider may take until its shell answers."""
        return self.config.agent.boot_timeout_s or provider_info(provider).boot_timeout_s

    def end_calls(self, provider: str) -> EndCalls | None:
        """Return how a machine of a provider deletes itself, None where it is given no key for that."""
        own_key = provider_info(provider).own_key
        if own_key is None:
            return None
        base = self.accounts.api_url(provider).rstrip("/") + "/"
        calls = [(method, urljoin(base, path), body) for method, path, body in own_key.calls]
        return EndCalls(own_key.key_variable, own_key.id_variable, calls)

    def ssh_public_key(self) -> str:
        """Return our own public key for this profile, making the pair on first use."""
        return ensure_key_pair(self.paths.ssh_dir, comment=self._key_comment).public_key

    @property
    def _key_comment(self) -> str:
        return f"gputui-{self.paths.profile}"

    async def open_shell(self, machine: Machine, placement: Placement, on_host_key: Callable[[str], None]) -> Shell:
        """Reach a machine. Raises ShellError (try again), HostKeyChanged (never)."""
        if opener := self.shell_openers.get(machine.provider):
            return await opener(machine.id)
        client = self.client(machine.provider)
        if isinstance(client, OpensShell):
            return await client.open_shell(machine)
        if machine.ip is None or machine.ssh_port is None:
            # Never a guessed port: behind a forwarded address, 22 may be somebody else's machine.
            raise ShellError("The machine has no address yet.")
        keys = ensure_key_pair(self.paths.ssh_dir, comment=self._key_comment)
        timeout_s = self.config.agent.ssh_connect_timeout_s
        async with asyncio.timeout(timeout_s * 3):
            return await open_ssh_shell(
                machine.ip,
                machine.ssh_port,
                machine.ssh_user or DEFAULT_SSH_USER,
                keys.private_path,
                pinned_host_key=placement.host_key,
                on_first_key=on_host_key,
                connect_timeout_s=timeout_s,
            )
