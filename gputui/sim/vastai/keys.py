"""SSH keys of the account and of instances, and API keys with their permissions."""

from __future__ import annotations

import base64
import binascii
import json

from gputui.sim.gate import Answer, Call, Keyed
from gputui.sim.vastai.errors import bad_args, refused
from gputui.sim.vastai.fields import body_of, path_id, text
from gputui.sim.vastai.instances import Instances
from gputui.sim.vastai.render import ssh_key
from gputui.sim.vastai.state import Caller, Contract, StoredSshKey, Tenant, VastState

_TEAM = "Team SSH keys are not supported. SSH keys can only be created in personal context."


class SshKeys:
    """The calls for SSH keys."""

    def __init__(self, state: VastState, instances: Instances) -> None:
        self._state = state
        self._instances = instances

    async def list_all(self, call: Call, caller: Caller) -> Answer:
        """Serve `GET /ssh/`: a bare array whose items have their text under `key`."""
        found = [ssh_key(caller.tenant, item, member="key") for item in caller.tenant.account_keys()]
        if not found and call.world.faults.choice("no_ssh_keys_as") == "404":
            raise refused(404, "not_found", "No SSH keys found for the user.")
        return Answer(found)

    async def add(self, call: Call, caller: Caller) -> Answer:
        """Serve `POST /ssh/`, whose answer has the text under `public_key`."""
        line, tenant = _line(call), caller.tenant
        if call.world.faults.flag("team_account"):
            raise refused(400, "team_ssh_keys_not_supported", _TEAM)
        stored = self._store(tenant, line, is_of_account=True)
        if call.world.faults.flag("account_keys_reach_instances"):
            for contract in self._state.living(tenant):
                _install(tenant, contract, stored.id)
        return Answer({"success": True, "key": ssh_key(tenant, stored, member="public_key")})

    async def replace(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /ssh/{id}/`; instances keep what they have."""
        line, stored = _line(call), self._of_account(call, caller)
        renewed = StoredSshKey(stored.id, line, stored.created_ms)
        caller.tenant.ssh_keys[stored.id] = renewed
        return Answer({"success": True, "key": ssh_key(caller.tenant, renewed, member="public_key")})

    async def delete(self, call: Call, caller: Caller) -> Answer:
        """Serve `DELETE /ssh/{id}/`; instances that have the key keep it."""
        stored = self._of_account(call, caller)
        stored.is_of_account = False
        return Answer({"success": True})

    async def attach(self, call: Call, caller: Caller) -> Answer:
        """Serve `POST /instances/{id}/ssh/`, which takes the text of a key. Again: 200, success false."""
        contract, line, tenant = self._instances.find(call, caller), _line(call), caller.tenant
        if any(_same(item, line) for item in contract.machine.authorized_keys):
            return Answer({"success": False, "msg": "SSH key already associated with instance."})
        known = next((item for item in tenant.ssh_keys.values() if _same(item.line, line)), None)
        stored = known or self._store(tenant, line, is_of_account=False)
        _install(tenant, contract, stored.id)
        return Answer({"success": True, "msg": "SSH key attached successfully"})

    async def list_attached(self, call: Call, caller: Caller) -> Answer:
        """Serve `GET /instances/{id}/ssh/`: JSON inside a string."""
        contract, tenant = self._instances.find(call, caller), caller.tenant
        keys = [tenant.ssh_keys[key_id] for key_id in sorted(contract.ssh_key_ids)]
        return Answer({"success": True, "ssh_keys": json.dumps([ssh_key(tenant, item, member="key") for item in keys])})

    async def detach(self, call: Call, caller: Caller) -> Answer:
        contract, tenant = self._instances.find(call, caller), caller.tenant
        key_id = path_id(call, "ssh_key_id", "Invalid args: invalid ssh_key_id")
        if key_id not in contract.ssh_key_ids:
            raise refused(404, "no_such_ssh_key", "SSH key with that ID does not exist.")
        contract.ssh_key_ids.remove(key_id)
        contract.machine.authorized_keys = tenant.key_lines(contract)
        return Answer({"success": True, "msg": "SSH key removed from instance."})

    def _store(self, tenant: Tenant, line: str, *, is_of_account: bool) -> StoredSshKey:
        stored = StoredSshKey(self._state.new_id(), line, self._state.world.now_ms(), is_of_account)
        tenant.ssh_keys[stored.id] = stored
        return stored

    def _of_account(self, call: Call, caller: Caller) -> StoredSshKey:
        stored = caller.tenant.ssh_keys.get(path_id(call, complaint="Invalid args: invalid ssh key id"))
        if stored is None or not stored.is_of_account:
            raise refused(400, "no_ssh_key", "SSH key not found")
        return stored


class ApiKeys:
    """The calls for API keys. A key's text is shown once, when it is made."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    async def create(self, call: Call, caller: Caller) -> Answer:
        body = body_of(call)
        permissions = body.get("permissions")
        if not isinstance(permissions, dict) or not isinstance(permissions.get("api"), dict):
            raise bad_args("Invalid args: 'permissions' must be an object with 'api'")
        key, secret = self._state.mint_key(caller.tenant, text(body, "name") or "", permissions["api"])
        return Answer({"id": key.id, "key": secret, "permissions": Keyed(permissions)})

    async def list_all(self, call: Call, caller: Caller) -> Answer:
        own = [key for key in caller.tenant.api_keys.values() if key.contract_id is None]
        return Answer({"apikeys": [self._shown(caller, key.id) for key in own]})

    async def get(self, call: Call, caller: Caller) -> Answer:
        return Answer(self._shown(caller, self._id(call, caller)))

    async def delete(self, call: Call, caller: Caller) -> Answer:
        """Serve `DELETE /auth/apikeys/{id}/`, which answers a bare string."""
        del caller.tenant.api_keys[self._id(call, caller)]
        return Answer("Successfully Deleted API Key")

    def _id(self, call: Call, caller: Caller) -> int:
        key_id = path_id(call, complaint="Invalid args: invalid API key id")
        if key_id not in caller.tenant.api_keys:
            raise refused(404, "not_found", "API key not found")
        return key_id

    def _shown(self, caller: Caller, key_id: int) -> dict[str, object]:
        key = caller.tenant.api_keys[key_id]
        rights = Keyed({} if key.permissions is None else {"api": key.permissions})
        return {"id": key.id, "user_id": caller.tenant.id, "rights": rights, "team_id": None, "team_name": None}


def _install(tenant: Tenant, contract: Contract, key_id: int) -> None:
    contract.ssh_key_ids.add(key_id)
    contract.machine.authorized_keys = tenant.key_lines(contract)


def _same(line: str, other: str) -> bool:
    return line.split()[:2] == other.split()[:2]


def _line(call: Call) -> str:
    """Return the public key in a body. Raises VastError."""
    line = (text(body_of(call), "ssh_key") or "").strip()
    if not line:
        raise refused(400, "no_ssh_key", "No ssh key provided")
    parts = line.split()
    try:
        blob = base64.b64decode(parts[1], validate=True) if len(parts) > 1 else b""
    except binascii.Error:
        blob = b""
    if "\n" in line or blob[4 : 4 + int.from_bytes(blob[:4], "big")] != parts[0].encode():
        raise refused(400, "invalid_ssh_key", "Invalid ssh key")
    return line
