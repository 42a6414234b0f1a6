"""Secrets, SSH keys among them: stored, listed and removed, never changed."""

from __future__ import annotations

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.tensordock import render
from gputui.sim.tensordock.fields import body_of
from gputui.sim.tensordock.state import Secret, Tenant

KINDS = ("SSHKEY", "GENERIC", "SECRET")


async def list_all(call: Call, tenant: Tenant) -> Answer:
    return Answer({"data": {"secrets": [render.listed_secret(secret) for secret in tenant.secrets.values()]}})


async def create(call: Call, tenant: Tenant) -> Answer:
    body = body_of(call)
    data = body["data"]
    data["type"].one_of(("secret",))
    wanted = data["attributes"]
    name, value, kind = wanted["name"].text(), wanted["value"].text(), wanted["type"].one_of(KINDS)
    body.done()
    secret = Secret(call.world.new_id(), name, kind, value)
    tenant.secrets[secret.id] = secret
    return Answer({"data": render.stored_secret(secret)})


async def get(call: Call, tenant: Tenant) -> Answer:
    return Answer({"data": render.single_secret(_find(call, tenant))})


async def delete(call: Call, tenant: Tenant) -> Answer:
    """Forget a secret; machines that were built with it keep it."""
    del tenant.secrets[_find(call, tenant).id]
    return Answer({"data": {"type": "success", "message": "Secret deleted successfully"}})


async def change(call: Call, tenant: Tenant) -> Answer:
    raise ApiError(405, "METHOD_NOT_ALLOWED", "Method not allowed")


def _find(call: Call, tenant: Tenant) -> Secret:
    secret = tenant.secrets.get(call.path["id"])
    if secret is None:
        raise ApiError(404, "NOT_FOUND", "Secret not found")
    return secret
