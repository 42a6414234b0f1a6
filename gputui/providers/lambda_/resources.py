"""Lambda's SSH keys, images, regions and file systems in our words. Pure: no I/O, no clock."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gputui.model.errors import Rejected
from gputui.model.types import Offer, OsImage, Region, SshKey, Volume
from gputui.model.units import parse_iso_utc
from gputui.providers.lambda_ import wire
from gputui.providers.lambda_.wire import PROVIDER

# Lambda Cloud API 1.10.0: the names that SSH keys and file systems may have.
LONGEST_KEY_NAME = 64
_FILESYSTEM_NAME = re.compile(r"[a-zA-Z]+[0-9a-zA-Z-]*")
LONGEST_FILESYSTEM_NAME = 60

# Lambda docs, filesystems: where a launch mounts them unless told otherwise.
_MOUNTS = "/lambda/nfs"

_GIB = 2**30
IN_USE, FREE = "in use", "unused"
# The family whose images bring the driver, CUDA and Docker; a launch without an image gets the latest of them.
_DEFAULT_FAMILY = "lambda-stack-"
# The last words of the descriptions of Lambda's regions, by ISO 3166.
_COUNTRIES = {
    "usa": "US",
    "germany": "DE",
    "italy": "IT",
    "israel": "IL",
    "india": "IN",
    "japan": "JP",
    "australia": "AU",
}


def ssh_key_of(row: Any) -> SshKey | None:
    """Return a registered key, None when it has no id."""
    found = wire.read(wire.WireSshKey, row)
    if found is None or not found.id:
        return None
    return SshKey(found.id, PROVIDER, found.name or "", _fingerprint(found.public_key or ""), found.public_key or None)


def workspace_of(rows: Iterable[Any]) -> str | None:
    """Return the id of the workspace that a key of the API is bound to, as told by the SSH keys in it."""
    keys = (wire.read(wire.WireSshKey, row) for row in rows)
    return next((key.workspace_id for key in keys if key and key.workspace_id), None)


def fingerprint_of(public_key: str) -> str:
    """Return `SHA256:…` of a one-line OpenSSH public key. Raises Rejected when it is not one."""
    fingerprint = _fingerprint(public_key)
    if fingerprint is None or "\n" in public_key.strip():
        raise Rejected("The SSH public key is not a one-line OpenSSH key.", provider=PROVIDER, field="ssh_public_key")
    return fingerprint


def _fingerprint(public_key: str) -> str | None:
    parts = public_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, ValueError):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=") if blob else None


def name_of_our_key(keys: Iterable[SshKey], fingerprint: str) -> str | None:
    """Return the name under which a launch can ask for a public key, None when there is none.

    A launch names keys by name, and fails for a name that two keys have (names can collide when they are added at once).
    """
    listed = list(keys)
    uses = Counter(key.name for key in listed)
    names = [key.name for key in listed if key.fingerprint == fingerprint and key.name and uses[key.name] == 1]
    return min(names, default=None)


def free_key_name(keys: Iterable[SshKey], fingerprint: str) -> str:
    """Return a name for our key that no other has; it carries the key's fingerprint."""
    taken = {key.name for key in keys}
    stem = "gputui-" + "".join(filter(str.isalnum, fingerprint.removeprefix("SHA256:")))[:12]
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def check_key_name(name: str) -> str:
    """Return a name that an SSH key can have. Raises Rejected for another."""
    if not 0 < len(name) <= LONGEST_KEY_NAME:
        raise Rejected(
            f"The name of an SSH key at Lambda has 1 to {LONGEST_KEY_NAME} characters.", provider=PROVIDER, field="name"
        )
    return name


def regions_of(rows: Iterable[Any]) -> list[Region]:
    """Return regions, each code once."""
    regions: dict[str, Region] = {}
    for row in rows:
        found = wire.read(wire.WireRegion, row)
        if found and found.name and found.name not in regions:
            country = _COUNTRIES.get((found.description or "").rpartition(",")[2].strip().lower())
            regions[found.name] = Region(PROVIDER, found.name, found.description or found.name, country)
    return list(regions.values())


def images_of(rows: Iterable[Any], offer: Offer | None) -> list[OsImage]:
    """Return image families, those that fit the offer's region and processor when one is given, Lambda's default first.

    Lambda lists every version in every region; a family means its latest version wherever the machine is.
    """
    wanted = offer.native if offer else {}
    found = [image for row in rows if (image := wire.read(wire.WireImage, row)) and _fits(image, wanted)]
    newest_last = sorted(found, key=lambda image: (parse_iso_utc(image.updated_time) or 0, image.name or ""))
    names = {value: image.name or value for image in newest_last if (value := image.family or image.id)}
    values = sorted(names, key=lambda value: (value.startswith(_DEFAULT_FAMILY), value), reverse=True)
    return [
        OsImage(PROVIDER, value, names[value], is_default=position == 0 and value.startswith(_DEFAULT_FAMILY))
        for position, value in enumerate(values)
    ]


def _fits(image: wire.WireImage, wanted: Mapping[str, Any]) -> bool:
    """Say whether an image can be booted there; what either side does not tell is no obstacle."""
    region = image.region.name if image.region else None
    pairs = ((region, wanted.get("region_name")), (image.architecture, wanted.get("architecture")))
    return all(not has or not needs or has == needs for has, needs in pairs)


def volume_of(row: Any) -> Volume | None:
    """Return a file system as a volume, None when it has no id. It has no size: it grows, and what is used is billed.

    Its price is not in the API. `raw_state` is ours: Lambda tells only whether it is in use.
    """
    found = wire.read(wire.WireFilesystem, row)
    if found is None or not found.id:
        return None
    return Volume(
        id=found.id,
        provider=PROVIDER,
        name=found.name or "",
        raw_state="" if found.is_in_use is None else IN_USE if found.is_in_use else FREE,
        used_gib=None if found.bytes_used is None else found.bytes_used / _GIB,
        region=(found.region.name or None) if found.region else None,
        created_at_ms=parse_iso_utc(found.created),
        mount_path=found.mount_point or (f"{_MOUNTS}/{found.name}" if found.name else None),
    )


def volume_obstacle(volumes: Iterable[Volume], offer: Offer) -> str | None:
    """Return why a machine of this offer cannot have these volumes, None when it can: both stand in one region."""
    for volume in volumes:
        if offer.region is not None and offer.region != volume.region:
            return f"is in {offer.region}, the volume {volume.name} in {volume.region}"
    return None


def mounts_of(instance_rows: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    """Return which machines mount what: by a file system's id, and by "region/name" where only its name is told."""
    mounts: dict[str, list[str]] = defaultdict(list)
    for row in instance_rows:
        found = wire.read(wire.WireInstance, row)
        if found is None or not found.id:
            continue
        places = [wire.read(wire.WireMount, mount) for mount in found.file_system_mounts or []]
        keys = {place.file_system_id for place in places if place and place.file_system_id}
        region = found.region.name if found.region else None
        keys |= {f"{region}/{name}" for name in found.file_system_names or []}
        for key in keys:
            mounts[key].append(found.id)
    return {key: tuple(ids) for key, ids in mounts.items()}


def attached(volume: Volume, mounts: Mapping[str, tuple[str, ...]]) -> Volume:
    """Return a volume with the machines that mount it."""
    machines = mounts.get(volume.id) or mounts.get(f"{volume.region}/{volume.name}", ())
    return replace(volume, attached_to=machines)


def check_filesystem(name: str, *, size_gib: int | None, kind: str | None) -> None:
    """Raise Rejected, naming the field, for a file system that Lambda cannot make."""
    if not _FILESYSTEM_NAME.fullmatch(name) or len(name) > LONGEST_FILESYSTEM_NAME:
        raise Rejected(
            f"{name!r} cannot be a file system's name at Lambda: a letter, then letters, digits and dashes, "
            f"{LONGEST_FILESYSTEM_NAME} at most.",
            provider=PROVIDER,
            field="name",
        )
    if size_gib is not None:
        raise Rejected(
            "A file system at Lambda has no size: it grows, and what is used is billed.",
            provider=PROVIDER,
            field="size_gib",
            hint="Leave the size out.",
        )
    if kind is not None:
        raise Rejected("Lambda has one kind of file system only.", provider=PROVIDER, field="kind")
