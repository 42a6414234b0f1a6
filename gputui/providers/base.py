"""What every provider can do, and what only some can.

A client is a thin, typed translation: it returns early, never waits for a state, never retries a write by itself and
raises only `model.errors`. What it can do beyond `Provider` is told by which of the capability protocols it implements;
the capability table shown to people is derived from that (`capabilities_of`), never written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gputui.model.logs import LogPage
from gputui.model.shell import Shell as Shell
from gputui.model.shell import ShellResult as ShellResult
from gputui.model.types import (
    ApiKey,
    Balance,
    Charge,
    CreateRequest,
    Machine,
    NewApiKey,
    NewWebhook,
    Offer,
    OsImage,
    Region,
    SshKey,
    Volume,
    WaitlistEntry,
    Webhook,
)
from gputui.model.units import MicroUsd


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What a read-only probe of a key found. `identity` is what the provider calls the account, where it tells."""

    provider: str
    ok: bool
    identity: str | None = None
    detail: str = ""


class Provider(Protocol):
    """Required of every client. Errors: any `model.errors.ProviderError`."""

    name: str

    async def check_key(self) -> KeyCheck:
        """Ask the cheapest read-only question that proves the key works. Raises AuthError when it is refused."""
        ...

    async def fetch_offers(self) -> list[Offer]:
        """Return everything rentable, all pages, sold-out types included (stock NONE)."""
        ...

    async def create(self, request: CreateRequest) -> Machine:
        """Order one machine, labelled `request.label`, and return at once; it is usually still pending.

        An error with `may_exist` True means a machine may have been made: look for the label before anything else.
        """
        ...

    async def get(self, machine_id: str) -> Machine:
        """Return one machine. Raises Gone when the provider knows it no more."""
        ...

    async def list_machines(self) -> list[Machine]:
        """Return every machine of the account, all pages, ours or not, those the provider lists as alive."""
        ...

    async def terminate(self, machine_id: str, *, idempotency_key: str) -> None:
        """Ask for deletion and return. Raises Gone when there is nothing left to delete (success for the caller)."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class ResendsCreate(Protocol):
    """The provider replays a create sent again with the same idempotency key instead of making a second machine."""

    create_is_idempotent: bool


@runtime_checkable
class HasBalance(Protocol):
    async def fetch_balance(self) -> Balance: ...


@runtime_checkable
class HasSshKeys(Protocol):
    async def list_ssh_keys(self) -> list[SshKey]: ...
    async def add_ssh_key(self, name: str, public_key: str) -> SshKey: ...
    async def delete_ssh_key(self, key_id: str) -> None: ...


@runtime_checkable
class HasOsImages(Protocol):
    async def list_os_images(self, offer: Offer | None = None) -> list[OsImage]: ...


@runtime_checkable
class HasRegions(Protocol):
    async def list_regions(self) -> list[Region]: ...


@runtime_checkable
class HasVolumes(Protocol):
    async def list_volumes(self) -> list[Volume]: ...
    async def create_volume(self, name: str, *, size_gib: int | None, region: str, kind: str | None) -> Volume: ...
    async def delete_volume(self, volume_id: str) -> None: ...


@runtime_checkable
class NamesVolumesUniquely(Protocol):
    """The provider gives no two volumes of an account the same name; elsewhere we make names unique."""

    volume_names_are_unique: bool


@runtime_checkable
class QuotesVolumes(Protocol):
    async def quote_volume(self, *, size_gib: int | None, region: str, kind: str | None) -> MicroUsd | None:
        """Return what such a volume would cost a month, None where it is not told. Makes nothing, spends nothing.

        Raises Rejected, naming the field, for one that cannot be made, NoCapacity where there is no room.
        """
        ...


@runtime_checkable
class AttachesVolumes(Protocol):
    async def attach_volume(self, volume_id: str, machine_id: str) -> None: ...
    async def detach_volume(self, volume_id: str, machine_id: str) -> None: ...


@runtime_checkable
class AttachesVolumesAtCreate(HasVolumes, Protocol):
    """A machine can be ordered with volumes (`CreateRequest.volumes`), and then has each at its `Volume.mount_path`."""

    def volume_obstacle(self, volumes: Sequence[Volume], offer: Offer) -> str | None:
        """Return why a machine of this offer cannot have these volumes ("is in …, the volume …"), None when it can."""
        ...


@runtime_checkable
class StopsMachines(Protocol):
    """A machine can be switched off and on again without losing its disk; it may go on costing money while it is off."""

    async def stop_machine(self, machine_id: str) -> None: ...
    async def start_machine(self, machine_id: str) -> None: ...


@runtime_checkable
class HasWaitlist(Protocol):
    """The provider keeps a list of who wants a sold-out machine type, and tells them when it is back."""

    async def list_waitlist(self) -> list[WaitlistEntry]: ...

    async def join_waitlist(self, offer: Offer, *, anywhere: bool = False) -> WaitlistEntry:
        """Wait for the offer's machine type in its region, or in any. Nothing is ordered, then or later."""
        ...

    async def leave_waitlist(self, entry_id: str) -> None: ...


@runtime_checkable
class HasWebhooks(Protocol):
    """The provider calls an address when something happens. `webhook_events` names what there is to be told of."""

    webhook_events: tuple[str, ...]

    async def list_webhooks(self) -> list[Webhook]: ...
    async def create_webhook(self, url: str, events: Sequence[str]) -> NewWebhook: ...

    async def update_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Change what is given and leave the rest."""
        ...

    async def delete_webhook(self, webhook_id: str) -> None: ...


@runtime_checkable
class HasApiKeys(Protocol):
    """Keys to the account can be made and revoked with a key."""

    async def list_api_keys(self) -> list[ApiKey]: ...
    async def create_api_key(self, name: str) -> NewApiKey: ...
    async def revoke_api_key(self, key_id: str) -> None: ...


@runtime_checkable
class HasCharges(Protocol):
    async def fetch_charges(self, *, since_ms: int, until_ms: int) -> list[Charge]: ...


@runtime_checkable
class StreamsLogs(Protocol):
    """The provider hands out what a machine's container prints."""

    async def read_log(self, machine_id: str, *, after: str | None, wait_s: float) -> LogPage:
        """Return the lines after a cursor (None: from the first), in order, each exactly once across calls.

        Waits up to `wait_s` seconds for a first new line, then returns what is there; an empty page gives `after` back.
        """
        ...


@runtime_checkable
class OpensShell(Protocol):
    """The provider's machines are reached in-process, without SSH (the mock and the simulated world)."""

    async def open_shell(self, machine: Machine) -> Shell: ...


CAPABILITIES: Mapping[str, type] = {
    "balance": HasBalance,
    "ssh-keys": HasSshKeys,
    "os-images": HasOsImages,
    "regions": HasRegions,
    "volumes": HasVolumes,
    "attach volumes": AttachesVolumes,
    "attach volumes at create": AttachesVolumesAtCreate,
    "stop and start": StopsMachines,
    "waitlist": HasWaitlist,
    "webhooks": HasWebhooks,
    "api-keys": HasApiKeys,
    "charges": HasCharges,
    "logs": StreamsLogs,
}


def capabilities_of(client_class: type) -> dict[str, bool]:
    """Return capability name -> whether a client class implements it."""
    return {
        name: all(hasattr(client_class, member) for member in _members(protocol))
        for name, protocol in CAPABILITIES.items()
    }


def _members(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_") and callable(vars(protocol)[name])]
