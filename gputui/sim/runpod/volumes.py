"""Network volumes: in one data center, mounted by pods there, billed until they are deleted."""

from __future__ import annotations

from gputui.sim.gate import Answer, Call
from gputui.sim.runpod import bodies, render
from gputui.sim.runpod.data import DATA_CENTERS
from gputui.sim.runpod.errors import not_found, refused
from gputui.sim.runpod.fields import body_of
from gputui.sim.runpod.state import Tenant, Volume, new_id


async def list_all(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /network-volumes`, never in pages."""
    return Answer({"networkVolumes": [render.volume(volume) for volume in tenant.living_volumes()]})


async def create(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call, bodies.CREATE_VOLUME)
    center = DATA_CENTERS.get(body["dataCenter"])
    if center is None or not center.volume_types:
        able = ", ".join(item.id for item in DATA_CENTERS.values() if item.volume_types)
        raise refused(f"data center {body['dataCenter']} does not support network volumes; these do: {able}")
    kind = body.get("type", center.volume_types[0])
    if kind not in center.volume_types:
        raise refused(f"data center {center.id} does not support {kind} volumes")
    now_ms = call.world.now_ms()
    volume = Volume(new_id(call.world, 10), body["name"], center.id, kind, now_ms, sizes=[(now_ms, int(body["size"]))])
    tenant.volumes[volume.id] = volume
    return Answer(render.volume(volume), 201)


async def get(call: Call, tenant: Tenant) -> Answer:
    return Answer(render.volume(_find(call, tenant)))


async def change(call: Call, tenant: Tenant) -> Answer:
    """Serve `PATCH /network-volumes/{id}`: another name, or more room."""
    body = body_of(call, bodies.UPDATE_VOLUME)
    volume = _find(call, tenant)
    size_gb = int(body.get("size", volume.size_gb))
    if size_gb < volume.size_gb:
        raise refused("network volume size cannot be decreased")
    if size_gb > volume.size_gb:
        volume.sizes.append((call.world.now_ms(), size_gb))
    volume.name = body.get("name", volume.name)
    return Answer(render.volume(volume))


async def delete(call: Call, tenant: Tenant) -> Answer:
    volume = _find(call, tenant)
    if any(pod.mount and pod.mount.volume_id == volume.id for pod in tenant.living()):
        status = int(call.world.faults.choice("runpod_volume_in_use_status"))
        raise refused("network volume is in use by a pod", status)
    volume.deleted_ms = call.world.now_ms()
    return Answer(None, 204)


def _find(call: Call, tenant: Tenant) -> Volume:
    volume = tenant.volumes.get(call.path["id"])
    if volume is None or volume.deleted_ms is not None:
        raise not_found("network volume")
    return volume
