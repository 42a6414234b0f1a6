"""Reading what `POST /instances` asks for, and refusing what makes no sense."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from gputui.sim.faults import Faults
from gputui.sim.tensordock.data import IMAGES, WINDOWS_IMAGES
from gputui.sim.tensordock.fields import Field
from gputui.sim.tensordock.knobs import STRICT_SIZES
from gputui.sim.tensordock.render import SSH_PORT
from gputui.sim.tensordock.state import Size, Tenant

MINIMUM_STORAGE_GB = 100
RAM_STEPS_GB = (2, 4, 6, 8, 10, 16, 32, 48, *range(64, 257, 16), 512)

_KEY_TYPES = ("ssh-", "ecdsa-sha2-", "sk-")


@dataclass(frozen=True, slots=True)
class Wish:
    """A create request that has been read and makes sense: one of `location_id` and `hostnode_id` is empty.

    `forwards` maps internal ports to the external ones asked for, 0 for any. `key_line` is empty only for Windows.
    """

    name: str
    image: str
    model_id: str
    size: Size
    location_id: str
    hostnode_id: str
    wants_dedicated_ip: bool
    forwards: dict[int, int]
    key_line: str


def read_wish(tenant: Tenant, body: Field, faults: Faults) -> Wish:
    """Return what a create body asks for. Raises Invalid with everything that is wrong in it."""
    data = body["data"]
    wanted = data["attributes"]
    data["type"].one_of(("virtualmachine",))
    wanted["type"].one_of(("virtualmachine",))
    name, image = wanted["name"].text(), wanted["image"].one_of(IMAGES)
    model_id, size = _size(wanted["resources"], is_strict=faults.flag(STRICT_SIZES))
    location_id, hostnode_id = _where(wanted)
    dedicated, forwards = wanted["useDedicatedIp"].boolean(False), _forwards(wanted["port_forwards"])
    if image not in WINDOWS_IMAGES and not dedicated and SSH_PORT not in forwards:
        wanted["port_forwards"].refuse("SSH port (22) must be forwarded for Ubuntu VMs")
    key_line = "" if image in WINDOWS_IMAGES else _key_line(tenant, wanted)
    _check_cloud_init(wanted["cloud_init"])
    body.done()
    return Wish(name, image, model_id, size, location_id, hostnode_id, dedicated, forwards, key_line)


def is_public_key(line: str) -> bool:
    """Say whether a text is one OpenSSH public key line."""
    parts = line.split()
    if len(parts) < 2 or "\n" in line.strip() or not parts[0].startswith(_KEY_TYPES):
        return False
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except binascii.Error:
        return False
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")] == parts[0].encode()


def _size(resources: Field, *, is_strict: bool) -> tuple[str, Size]:
    """Return the GPU model and the size asked for."""
    vcpus, ram_gb = resources["vcpu_count"].whole(1), resources["ram_gb"].whole(1)
    storage_gb = resources["storage_gb"].whole(MINIMUM_STORAGE_GB)
    if is_strict and vcpus % 2:
        resources["vcpu_count"].refuse("vCPU count must be a multiple of 2")
    if is_strict and ram_gb not in RAM_STEPS_GB:
        resources["ram_gb"].refuse(f"RAM must be one of {', '.join(map(str, RAM_STEPS_GB))} GB")
    models = [(name, model["count"].whole(1)) for name, model in resources["gpus"].members()]
    if resources["gpus"].is_given and len(models) != 1:
        resources["gpus"].refuse("Exactly one GPU model must be given")
    model_id, gpus = (models or [("", 0)])[0]
    return model_id, Size(gpus, vcpus, ram_gb, storage_gb)


def _where(wanted: Field) -> tuple[str, str]:
    """Return the location's and the host's id, of which exactly one is given."""
    location, host = wanted["location_id"], wanted["hostnode_id"]
    if location.is_given == host.is_given:
        wanted.refuse("Exactly one of location_id and hostnode_id must be given")
        return "", ""
    return (location.text(), "") if location.is_given else ("", host.text())


def _forwards(field: Field) -> dict[int, int]:
    found: dict[int, int] = {}
    for item in field.items():
        inside, outside = item["internal_port"].whole(1, 65_535), item["external_port"].whole(0, 65_535)
        if inside in found or (outside and outside in found.values()):
            item.refuse("Ports must not be forwarded twice")
        found[inside] = outside
    return found


def _key_line(tenant: Tenant, wanted: Field) -> str:
    field = wanted["ssh_key"]
    if wanted["ssh_key_id"].is_given and not field.is_given:
        field = wanted["ssh_key_id"]
        secret = tenant.secrets.get(field.text())
        line = secret.value if secret is not None and secret.kind == "SSHKEY" else ""
    else:
        line = field.text()
    if field.is_given and not is_public_key(line):
        field.refuse("Invalid SSH public key")
    return line.strip()


def _check_cloud_init(field: Field) -> None:
    if not field.is_given:
        return
    field.members()
    for name in ("runcmd", "packages"):
        for item in field[name].items():
            item.text()
    for name in ("package_update", "package_upgrade"):
        field[name].boolean(False)
    for file in field["write_files"].items():
        file["path"].text()
        file["content"].text()
