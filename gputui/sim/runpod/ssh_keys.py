"""The account's SSH keys: one set, read and replaced as a whole. Pods made afterwards get them, where asked to."""

from __future__ import annotations

from gputui.sim.gate import Answer, Call
from gputui.sim.runpod import bodies
from gputui.sim.runpod.fields import body_of
from gputui.sim.runpod.state import Tenant


async def list_all(call: Call, tenant: Tenant) -> Answer:
    return Answer({"keys": list(tenant.ssh_keys)})


async def replace_all(call: Call, tenant: Tenant) -> Answer:
    """Serve `PUT /account/ssh-keys`."""
    tenant.ssh_keys = list(body_of(call, bodies.SSH_KEYS)["keys"])
    return Answer({"keys": list(tenant.ssh_keys)})
