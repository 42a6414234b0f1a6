"""The volumes that a job's machine is ordered with: from names to records, before anything is ordered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gputui.model.errors import NotFoundError, NotSupported, Unreachable, UsageError
from gputui.model.types import JobSpec, Offer, Volume
from gputui.providers.registry import PROVIDERS, client_class, provider_title
from gputui.store import volumes as volume_store

if TYPE_CHECKING:
    from gputui.providers.base import Provider
    from gputui.store.db import Store

LIST_DEADLINE_S = 45.0


def check_volumes(spec: JobSpec) -> None:
    """Raise what is wrong with a job's volumes as far as it shows without asking: UsageError, NotSupported."""
    if not spec.volumes:
        return
    if any(not name.strip() for name in spec.volumes):
        raise UsageError("A volume has no name.", field="volumes")
    if len(set(spec.volumes)) < len(spec.volumes):
        raise UsageError("A volume is named twice.", field="volumes")
    if spec.provider is None:
        raise UsageError("A volume is at one provider.", field="volumes", hint="Say at which, with --provider.")
    if not _can_attach(spec.provider):
        raise _cannot_attach(spec.provider)


def _can_attach(provider: str) -> bool:
    from gputui.providers.base import capabilities_of

    return capabilities_of(client_class(provider))["attach volumes at create"]


def _cannot_attach(provider: str) -> NotSupported:
    able = ", ".join(info.title for name, info in PROVIDERS.items() if _can_attach(name))
    return NotSupported(
        f"{provider_title(provider)} cannot order a machine with a volume that exists.",
        provider=provider,
        hint=f"These can: {able}.",
    )


async def find_volumes(client: Provider, spec: JobSpec, store: Store) -> tuple[Volume, ...]:
    """Return the volumes a job names by id or name, in its order; asks the provider only where there are any.

    Raises NotFoundError, UsageError for a name that several have, ProviderError when the list cannot be had.
    """
    import asyncio  # a tenth of a second that views which only read the store do not pay

    from gputui.providers.base import AttachesVolumesAtCreate

    if not spec.volumes:
        return ()
    check_volumes(spec)
    if not isinstance(client, AttachesVolumesAtCreate):
        raise _cannot_attach(client.name)
    try:
        async with asyncio.timeout(LIST_DEADLINE_S):
            listed = await client.list_volumes()
    except TimeoutError:
        raise Unreachable(
            f"{provider_title(client.name)} did not list its volumes within {LIST_DEADLINE_S:.0f} s.",
            provider=client.name,
        ) from None
    called = {made.volume_id: made.name for made in volume_store.load_made(store, client.name).values()}
    found = tuple(_find(listed, name, client.name, called) for name in spec.volumes)
    if len({volume.id for volume in found}) < len(found):
        raise UsageError("A volume is named twice, by its name and by its id.", field="volumes")
    return found


def obstacle(client: Provider, volumes: Sequence[Volume]) -> Callable[[Offer], str | None]:
    """Return what tells why a machine of an offer cannot have these volumes. Raises NotSupported."""
    from gputui.providers.base import AttachesVolumesAtCreate

    if not isinstance(client, AttachesVolumesAtCreate):
        raise _cannot_attach(client.name)
    return lambda offer: client.volume_obstacle(volumes, offer)


def _find(volumes: Sequence[Volume], name: str, provider: str, called: Mapping[str | None, str]) -> Volume:
    """Return the volume of an id or name. `called` is what the user called those of ours, by id."""
    from gputui.core.runner.protocol import is_mountable

    title = provider_title(provider)
    named = [volume for volume in volumes if volume.id == name]
    named = named or [volume for volume in volumes if name in (volume.name, called.get(volume.id))]
    if not named:
        known = ", ".join(called.get(volume.id) or volume.name or volume.id for volume in volumes) or "none"
        raise NotFoundError(f"There is no volume {name!r} at {title}.", hint=f"There are: {known}.")
    if len(named) > 1:
        ids = ", ".join(f"{volume.id} ({volume.region or 'region unknown'})" for volume in named)
        raise UsageError(
            f"{len(named)} volumes at {title} are called {name!r}.", field="volumes", hint=f"Give an id: {ids}."
        )
    if not is_mountable(named[0].mount_path or ""):
        raise NotSupported(f"{title} does not tell where the volume {name!r} would be mounted.", provider=provider)
    return named[0]
