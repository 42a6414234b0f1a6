"""Free things at the providers that a person manages: SSH keys, images, regions, waitlists, webhooks and API keys.

A view calls these itself. Nothing here starts a charge. What is sent once and may have got lost is looked for before anything
is said to have failed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gputui.core.asking import Asked, ask_all, who_can
from gputui.local.ssh import fingerprint
from gputui.model.errors import Gone, GputuiError, NotFoundError, ProviderError, UsageError
from gputui.model.types import Stock

if TYPE_CHECKING:
    from gputui.core.accounts import Accounts
    from gputui.model.types import (
        ApiKey,
        NewApiKey,
        NewWebhook,
        Offer,
        OsImage,
        Region,
        SshKey,
        WaitlistEntry,
        Webhook,
    )
    from gputui.providers.base import HasSshKeys

_MOST_KEY_BYTES = 16 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of an SSH key: its line, its fingerprint as ssh-keygen prints it, and its comment ("" for none)."""

    line: str
    fingerprint: str
    comment: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One public key and where it is registered. `fingerprint` is None for one that its provider tells nothing of."""

    fingerprint: str | None
    name: str
    at: Mapping[str, tuple[SshKey, ...]]

    @property
    def registrations(self) -> list[SshKey]:
        return [key for keys in self.at.values() for key in keys]


@dataclass(frozen=True, slots=True)
class KeyAdded:
    """A key registered at a provider; `was_there` when it had been before."""

    key: SshKey
    was_there: bool


# SSH keys


def read_public_key(path: Path) -> PublicKey:
    """Read a public key from a file. Raises NotFoundError, UsageError for anything that is no public key."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_KEY_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", hint="Make a key with: ssh-keygen -t ed25519") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).", field="file") from None
    if b"PRIVATE KEY" in content:
        raise UsageError(
            f"{path} is the private half, which never leaves this machine.",
            field="file",
            hint=f"Give the public one: {path}.pub",
        )
    try:
        return public_key_of(content.decode())
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a public SSH key.", field="file") from None


def local_public_keys(folder: Path) -> list[tuple[Path, PublicKey]]:
    """Return the public keys in a folder such as ~/.ssh, by name; a file that is no public key is passed over."""
    found = []
    for path in sorted(folder.glob("*.pub")) if folder.is_dir() else ():
        try:
            found.append((path, read_public_key(path)))
        except GputuiError:
            continue
    return found


def public_key_of(text: str) -> PublicKey:
    """Return the public key in a text of one line. Raises UsageError when it is not one."""
    line = text.strip()
    try:
        if len(line) > _MOST_KEY_BYTES or not line.isprintable():
            raise ValueError("more than one line")
        print_ = fingerprint(line)
    except ValueError:
        raise UsageError("That is not a public SSH key on one line.", field="key") from None
    words = line.split(maxsplit=2)
    return PublicKey(line, print_, words[2] if len(words) > 2 else "")


async def list_ssh_keys(
    accounts: Accounts, providers: Sequence[str] = ()
) -> tuple[list[KeyRow], Mapping[str, GputuiError]]:
    """Return every registered key with where it is, the most widely known first, and why some providers did not answer."""
    asked: Asked[list[SshKey]] = await ask_all(
        accounts, who_can(accounts, "ssh-keys", providers), lambda client: client.list_ssh_keys()
    )
    return key_rows(asked.answers), asked.problems


def key_rows(keys: Mapping[str, Sequence[SshKey]]) -> list[KeyRow]:
    """Return keys by fingerprint, whatever each provider calls them. Pure."""
    found: dict[str, dict[str, list[SshKey]]] = defaultdict(lambda: defaultdict(list))
    for provider, registered in keys.items():
        for key in registered:
            found[fingerprint_of(key) or f"{provider} {key.id}"][provider].append(key)
    rows = []
    for at in found.values():
        registrations = [key for listed in at.values() for key in listed]
        name = next((key.name for key in registrations if key.name), "")
        rows.append(
            KeyRow(fingerprint_of(registrations[0]), name, {name: tuple(listed) for name, listed in at.items()})
        )
    return sorted(rows, key=lambda row: (-len(row.at), row.name, row.fingerprint or ""))


def fingerprint_of(key: SshKey) -> str | None:
    """Return a registered key's fingerprint: of its text where that is told, else as the provider tells it."""
    if key.public_key:
        try:
            return fingerprint(key.public_key)
        except ValueError:
            pass
    return key.fingerprint


async def add_ssh_key(accounts: Accounts, key: PublicKey, name: str, providers: Sequence[str] = ()) -> Asked[KeyAdded]:
    """Register a key at the providers named, or at all that can; where it is already it stays as it is."""

    async def add(client: HasSshKeys) -> KeyAdded:
        if there := await _find(client, key):
            return KeyAdded(there, was_there=True)
        try:
            return KeyAdded(await client.add_ssh_key(name, key.line), was_there=False)
        except ProviderError as error:
            there = await _find(client, key) if error.may_exist else None
            if there is None:
                raise
            return KeyAdded(there, was_there=False)

    return await ask_all(accounts, who_can(accounts, "ssh-keys", providers), add)


async def _find(client: HasSshKeys, key: PublicKey) -> SshKey | None:
    return next((found for found in await client.list_ssh_keys() if fingerprint_of(found) == key.fingerprint), None)


async def delete_ssh_key(accounts: Accounts, row: KeyRow) -> Asked[None]:
    """Take a key out of every provider of `row.at`. Machines that were made with it keep it."""

    async def delete(client: Any) -> None:
        for key in row.at[client.name]:
            await _delete(client.delete_ssh_key(key.id))

    return await ask_all(accounts, list(row.at), delete)


# Images and regions


async def list_os_images(accounts: Accounts, providers: Sequence[str] = ()) -> Asked[list[OsImage]]:
    """Return the disk images that machines can be made with, the default of each provider first."""
    return await ask_all(accounts, who_can(accounts, "os-images", providers), lambda client: client.list_os_images())


async def list_regions(accounts: Accounts, providers: Sequence[str] = ()) -> Asked[list[Region]]:
    """Return the places where machines stand."""
    return await ask_all(accounts, who_can(accounts, "regions", providers), lambda client: client.list_regions())


# Waitlists


async def list_waitlist(accounts: Accounts, providers: Sequence[str] = ()) -> Asked[list[WaitlistEntry]]:
    """Return the account's places in waitlists."""
    return await ask_all(accounts, who_can(accounts, "waitlist", providers), lambda client: client.list_waitlist())


async def join_waitlist(accounts: Accounts, offer: Offer, *, anywhere: bool) -> WaitlistEntry:
    """Ask the offer's provider to tell when its machine type is back, in its region or anywhere. Orders nothing."""
    [provider] = who_can(accounts, "waitlist", [offer.provider])
    return await _ask_one(
        accounts,
        provider,
        lambda client: client.join_waitlist(offer, anywhere=anywhere),
        if_lost="You may be on the list all the same. See: gputui waitlist list",
    )


def sold_out_offer(offers: Sequence[Offer], gpu: str, *, count: int, region: str | None) -> Offer:
    """Return the cheapest offer of so many GPUs that there is none of now. Pure.

    Raises NotFoundError when there is no such machine type, UsageError when it can be had.
    """
    fitting = [offer for offer in offers if offer.gpu_count == count and region in (None, offer.region)]
    what = f"{count} × {gpu}{f' in {region}' if region else ''}"
    if not fitting:
        raise NotFoundError(f"There is no machine type with {what}, sold out or not.", hint="See: gputui offers")
    free = [offer for offer in fitting if offer.stock is not Stock.NONE]
    if free:
        raise UsageError(
            f"{what} can be had now; there is nothing to wait for.", hint=f"See: gputui offers --gpu {gpu}"
        )
    return min(fitting, key=lambda offer: (offer.price_micro_usd_per_hour, offer.id))


async def leave_waitlist(accounts: Accounts, entry: WaitlistEntry) -> None:
    """Give up a place in a waitlist. One that is gone already is as good."""
    await _ask_one(accounts, entry.provider, lambda client: _delete(client.leave_waitlist(entry.id)))


# Webhooks


async def list_webhooks(accounts: Accounts, providers: Sequence[str] = ()) -> Asked[list[Webhook]]:
    """Return the account's webhooks. Their secrets are told once only, when they are made."""
    return await ask_all(accounts, who_can(accounts, "webhooks", providers), lambda client: client.list_webhooks())


async def create_webhook(accounts: Accounts, provider: str, url: str, events: Sequence[str] = ()) -> NewWebhook:
    """Make a webhook for the events named, or for all. Its secret is in the answer, and nowhere else."""
    from gputui.providers.registry import client_class

    [provider] = who_can(accounts, "webhooks", [provider])
    known: tuple[str, ...] = getattr(client_class(provider), "webhook_events", ())
    return await _ask_one(
        accounts,
        provider,
        lambda client: client.create_webhook(url, _checked_events(events, known) or known),
        if_lost="It may have been made, and its secret is lost then: delete what the list shows. "
        "See: gputui webhooks list",
    )


async def change_webhook(
    accounts: Accounts,
    webhook: Webhook,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    is_active: bool | None = None,
) -> Webhook:
    """Change what is given of a webhook and leave the rest."""
    return await _ask_one(
        accounts,
        webhook.provider,
        lambda client: client.update_webhook(
            webhook.id,
            url=url,
            events=None if events is None else _checked_events(events, client.webhook_events),
            is_active=is_active,
        ),
    )


async def delete_webhook(accounts: Accounts, webhook: Webhook) -> None:
    """Delete a webhook. One that is gone already is as good."""
    await _ask_one(accounts, webhook.provider, lambda client: _delete(client.delete_webhook(webhook.id)))


def _checked_events(events: Sequence[str], known: Sequence[str]) -> list[str]:
    if unknown := [event for event in events if event not in known]:
        raise UsageError(f"There is no event {unknown[0]!r}.", field="events", hint=f"There are: {', '.join(known)}.")
    return list(dict.fromkeys(events))


# API keys


async def list_api_keys(accounts: Accounts, providers: Sequence[str] = ()) -> Asked[list[ApiKey]]:
    """Return the keys to the account, without their secrets."""
    return await ask_all(accounts, who_can(accounts, "api-keys", providers), lambda client: client.list_api_keys())


async def create_api_key(accounts: Accounts, provider: str, name: str) -> NewApiKey:
    """Make a key that may do what the present one may. Its secret is in the answer, and nowhere else."""
    [provider] = who_can(accounts, "api-keys", [provider])
    return await _ask_one(
        accounts,
        provider,
        lambda client: client.create_api_key(name),
        if_lost="It may have been made, and its secret is lost then: revoke what the list shows. "
        "See: gputui api-keys list",
    )


async def revoke_api_key(accounts: Accounts, key: ApiKey) -> None:
    """Revoke a key at once and for ever. One that is revoked already is as good."""
    await _ask_one(accounts, key.provider, lambda client: _delete(client.revoke_api_key(key.id)))


async def _delete(call: Awaitable[None]) -> None:
    try:
        await call
    except Gone:
        return


async def _ask_one(
    accounts: Accounts, provider: str, question: Callable[[Any], Awaitable[T]], *, if_lost: str | None = None
) -> T:
    """Ask one provider. Raises its error, with `if_lost` for a hint where what was asked for may have happened."""
    asked = await ask_all(accounts, [provider], question)
    for error in asked.problems.values():
        if if_lost is not None and isinstance(error, ProviderError) and error.may_exist:
            error.hint = if_lost
        raise error
    return asked.answers[provider]
