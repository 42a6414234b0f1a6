"""SSH keys, API keys, volumes and webhooks: small things that are made, listed and removed."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.huddle import render
from gputui.sim.huddle.data import place_of
from gputui.sim.huddle.deployments import new_volume
from gputui.sim.huddle.fields import bad, body_of, boolean, conflict, not_found, optional_text, text, texts
from gputui.sim.huddle.state import HuddleState, StoredSshKey, StoredWebhook, Tenant
from gputui.sim.machine import SimMachine

EVENTS = frozenset(
    {
        "deployment.ordered",
        "deployment.provisioning",
        "deployment.running",
        "deployment.offline",
        "deployment.error",
        "deployment.deleted",
        "deployment.failed_no_capacity",
        "gpu.available",
    }
)


async def add_ssh_key(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call)
    name, line = text(body, "name"), text(body, "public_key").strip()
    key_type, fingerprint = _read_public_key(line)
    stored = StoredSshKey(call.world.new_id(), name, line, fingerprint, key_type, call.world.now_ms())
    tenant.ssh_keys[stored.id] = stored
    return render.ok(render.ssh_key(stored))


async def list_ssh_keys(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.ssh_key(item) for item in tenant.ssh_keys.values()])


async def delete_ssh_key(call: Call, tenant: Tenant) -> Answer:
    """Forget a key for later deployments; those that have it keep it."""
    stored = tenant.ssh_keys.pop(call.path["id"], None)
    if stored is None:
        raise not_found("ssh key", call.path["id"])
    return render.ok(render.ssh_key(stored))


class ApiKeys:
    """The API keys of an account. Any of them may do anything, also revoke itself."""

    def __init__(self, state: HuddleState) -> None:
        self._state = state

    async def create(self, call: Call, tenant: Tenant) -> Answer:
        name = optional_text(body_of(call), "name") or "default"
        stored, secret = self._state.mint_key(tenant, name)
        return render.ok({**render.api_key(stored), "secret": secret})

    async def list_all(self, call: Call, tenant: Tenant) -> Answer:
        return render.ok([render.api_key(item) for item in tenant.api_keys.values() if item.revoked_ms is None])

    async def revoke(self, call: Call, tenant: Tenant) -> Answer:
        stored = tenant.api_keys.get(call.path["id"])
        if stored is None or stored.revoked_ms is not None:
            raise not_found("API key", call.path["id"])
        stored.revoked_ms = call.world.now_ms()
        return render.ok(render.api_key(stored))


async def create_volume(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call)
    location = text(body, "location")
    if place_of(location) is None:
        raise bad(f"unknown location {location}")
    volume = new_volume(tenant, body, location)
    instance_id = optional_text(body, "instance_id")
    ids = [instance_id] if instance_id else (texts(body, "instance_ids") if body.get("instance_ids") else [])
    for machine in (_machine_in(call, tenant, item, location) for item in ids):
        volume.machine = machine
    tenant.volumes[volume.id] = volume
    shown = render.volume(volume, call.world.now_ms())
    return render.ok({**shown, "status": "ordered"})


async def list_volumes(call: Call, tenant: Tenant) -> Answer:
    """Serve `GET /volumes`; deleted ones only when asked for by status."""
    call.world.settle()
    wanted, now_ms = call.query("status"), call.world.now_ms()
    shown = [render.volume(item, now_ms) for item in tenant.volumes.values()]
    found = [item for item in shown if item["status"] == wanted or (wanted is None and item["status"] != "deleted")]
    return render.page(call.world.faults, found, total=len(found))


async def delete_volume(call: Call, tenant: Tenant) -> Answer:
    call.world.settle()
    volume, now_ms = tenant.volumes.get(call.path["id"]), call.world.now_ms()
    if volume is None or (status := render.volume_status(volume, now_ms)) == "deleted":
        raise not_found("volume", call.path["id"])
    if volume.machine is not None and status != "detached":
        raise conflict("the volume is attached; delete its deployment first")
    volume.deleted_ms = now_ms
    return render.ok(render.volume(volume, now_ms))


async def create_webhook(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call)
    url, events, now_ms = _url(body), _events(body), call.world.now_ms()
    stored = StoredWebhook(call.world.new_id(), url, events, True, now_ms, now_ms)
    tenant.webhooks[stored.id] = stored
    return render.ok({**render.webhook(stored), "secret": f"whsec_{call.world.new_hex(64)}"})


async def list_webhooks(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.webhook(item) for item in tenant.webhooks.values()])


async def update_webhook(call: Call, tenant: Tenant) -> Answer:
    """Serve `PUT /webhooks/{id}`: only what the body names is changed."""
    stored = tenant.webhooks.get(call.path["id"])
    if stored is None:
        raise not_found("webhook", call.path["id"])
    body = body_of(call)
    url = _url(body) if "url" in body else stored.url
    events = _events(body) if "events" in body else stored.events
    stored.is_active = boolean(body, "is_active", stored.is_active)
    stored.url, stored.events, stored.updated_ms = url, events, call.world.now_ms()
    return render.ok(render.webhook(stored))


async def delete_webhook(call: Call, tenant: Tenant) -> Answer:
    stored = tenant.webhooks.pop(call.path["id"], None)
    if stored is None:
        raise not_found("webhook", call.path["id"])
    return render.ok(render.webhook(stored))


def _machine_in(call: Call, tenant: Tenant, machine_id: str, location: str) -> SimMachine:
    machine = call.world.machines.get(machine_id)
    if machine is None or machine.account_id != tenant.account.id or not machine.is_alive(call.world.now_ms()):
        raise bad(f"unknown instance {machine_id}")
    if machine.region != location:
        raise bad(f"instance {machine_id} is not in {location}")
    return machine


def _url(body: dict[str, Any]) -> str:
    url = text(body, "url")
    if not url.startswith(("https://", "http://")):
        raise bad("url must be an http or https address")
    return url


def _events(body: dict[str, Any]) -> list[str]:
    events = texts(body, "events")
    if unknown := sorted(set(events) - EVENTS):
        raise bad(f"unknown events: {', '.join(unknown)}")
    return events


def _read_public_key(line: str) -> tuple[str, str]:
    """Return (key type, SHA256 fingerprint) of an OpenSSH public key line. Raises ApiError 400."""
    parts = line.split()
    if len(parts) < 2 or "\n" in line:
        raise bad("public_key must be one OpenSSH line")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except binascii.Error:
        raise bad("public_key is not valid") from None
    named = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", errors="replace")
    kind = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}.get(parts[0])
    if kind is None and parts[0].startswith("ecdsa-sha2-"):
        kind = "ecdsa"
    if kind is None or named != parts[0]:
        raise bad("public_key must be an ed25519, rsa or ecdsa key")
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return kind, f"SHA256:{digest}"
