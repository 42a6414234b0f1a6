"""SSH keys: named, registered as sent or generated, removed by id."""

from __future__ import annotations

import base64
import binascii

from gputui.sim.gate import Answer, ApiError, Call
from gputui.sim.lambda_ import render
from gputui.sim.lambda_.errors import invalid, not_found, quota_exceeded
from gputui.sim.lambda_.fields import body_of, optional_text, text
from gputui.sim.lambda_.state import StoredSshKey, Tenant

KEYS_MOST = 1024

_BAD_KEY = "public_key: Invalid SSH public key"
_KINDS = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")


async def list_all(call: Call, tenant: Tenant) -> Answer:
    return render.ok([render.ssh_key(item, tenant) for item in tenant.ssh_keys.values()])


async def add(call: Call, tenant: Tenant) -> Answer:
    """Serve `POST /ssh-keys`; without a public key a pair is made and its private half shown this once."""
    body = body_of(call)
    name, sent = text(body, "name", 1, 64), optional_text(body, "public_key", 1, 4096)
    taken = any(item.name == name for item in tenant.ssh_keys.values())
    if taken and not call.fires("key_name_race"):
        raise invalid("Key name must be unique")
    if len(tenant.ssh_keys) >= KEYS_MOST:
        raise quota_exceeded()
    private_key = None
    if sent is None:
        sent, private_key = _generated(call.world.new_hex(64), name)
    stored = StoredSshKey(call.world.new_hex(32), name, sent, openssh_line(sent))
    tenant.ssh_keys[stored.id] = stored
    tenant.record("ssh_key", "created", stored.id, name=name)
    shown = render.ssh_key(stored, tenant)
    return render.ok(shown if private_key is None else {**shown, "private_key": private_key})


async def delete(call: Call, tenant: Tenant) -> Answer:
    """Forget a key for later launches; instances that have it keep it."""
    stored = tenant.ssh_keys.get(call.path["id"])
    if stored is None:
        raise not_found()
    in_use = any(stored.name in machine.details["ssh_key_names"] for machine in tenant.living())
    if in_use and call.world.faults.flag("key_in_use_refused"):
        raise ApiError(400, "ssh-keys/key-in-use", "The SSH key is used by an instance.")
    del tenant.ssh_keys[stored.id]
    tenant.record("ssh_key", "deleted", stored.id, name=stored.name)
    return render.ok({})


def openssh_line(sent: str) -> str:
    """Return the OpenSSH line of a public key sent as OpenSSH, RFC 4716, PKCS #8 or PEM. Raises ApiError 400."""
    lines = [line.strip() for line in sent.strip().splitlines()]
    if lines and lines[0] == "---- BEGIN SSH2 PUBLIC KEY ----":
        return _line_of(_rfc4716_body(lines[1:]))
    if lines and lines[0].startswith("-----BEGIN "):
        return _pem_line(sent)
    parts = sent.split(maxsplit=2)
    if len(lines) != 1 or len(parts) < 2:
        raise invalid(_BAD_KEY)
    line = _line_of(parts[1])
    if line.split()[0] != parts[0]:
        raise invalid(_BAD_KEY)
    return " ".join([line, *parts[2:]]).strip()


def _line_of(encoded: str) -> str:
    """Return "type base64" of a public key blob in base64: the blob names its own type."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise invalid(_BAD_KEY) from None
    kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii", errors="replace")
    if not kind.startswith(_KINDS) or len(blob) <= 4 + len(kind):
        raise invalid(_BAD_KEY)
    return f"{kind} {encoded}"


def _rfc4716_body(lines: list[str]) -> str:
    """Return the base64 of an RFC 4716 key: what follows its headers, of which any may go on after a backslash."""
    body, continued = [], False
    for line in lines:
        if line.startswith("----"):
            break
        if ":" not in line and not continued:
            body.append(line)
        continued = line.endswith("\\")
    return "".join(body)


def _pem_line(sent: str) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(sent.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise invalid(_BAD_KEY) from None
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey):
        raise invalid(_BAD_KEY)
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _generated(seed_hex: str, name: str) -> tuple[str, str]:
    """Return (public OpenSSH line, private key as PEM) of the pair that a seed stands for."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed_hex))
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return f"{public} {name}", pem
