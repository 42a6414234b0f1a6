"""Filesystems: listed, made and deleted under two spellings of their path, mounted by a launch only."""

from __future__ import annotations

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.errors import missing, quota_exceeded
from gputui.sim.lambda_.fields import body_of, region, text
from gputui.sim.lambda_.state import StoredFilesystem, Tenant


async def list_all(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.filesystem(item, tenant) for item in tenant.filesystems.values()])


async def create(call: Call, tenant: Tenant) -> Answer:
    body, faults = body_of(call), call.world.faults
    name, region_name = text(body, "name", 1, 60, "[a-zA-Z]+[0-9a-zA-Z-]*"), region(body, "region")
    if call.fires("invalid_address"):
        raise ApiError(403, "global/invalid-address", "Your billing address is invalid.")
    if any(item.name == name for item in tenant.filesystems.values()):
        raise ApiError(400, "global/duplicate", f"A filesystem named {name} already exists.")
    if len(tenant.filesystems) >= faults.number("filesystem_quota"):
        raise quota_exceeded()
    used_gib = faults.number("filesystem_used_gib")
    stored = StoredFilesystem(call.world.new_hex(32), name, region_name, call.world.now_ms(), used_gib)
    tenant.filesystems[stored.id] = stored
    tenant.record("filesystem", "created", stored.id, name=name, region=region_name)
    return render.ok(render.filesystem(stored, tenant))


async def delete(call: Call, tenant: Tenant) -> Answer:
    stored = tenant.filesystems.get(call.path["id"])
    if stored is None:
        raise missing("Filesystem was not found.")
    if any(stored.id in machine.details["mounts"] for machine in tenant.living()):
        raise ApiError(400, "filesystems/filesystem-in-use", "The filesystem is mounted by an instance.")
    del tenant.filesystems[stored.id]
    tenant.record("filesystem", "deleted", stored.id, name=stored.name)
    return render.ok({"deleted_ids": [stored.id]})
