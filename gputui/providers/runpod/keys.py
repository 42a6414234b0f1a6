"""RunPod's SSH keys: one set of lines for the whole account, which can only be read and written as a whole. Pure.

A key has no id and no name there: the id is ours (its fingerprint), the name is the line's comment.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from gputui.model.errors import Rejected
from gputui.model.types import SshKey
from gputui.providers.runpod.wire import PROVIDER

# RunPod REST API 2.0.0, replace the SSH keys: what a line must look like.
_LINE = re.compile(r"(?:ssh|ecdsa|sk)-[^\s]+ [^\s]+(?:[ \t][^\n\r]*)?")


def key_of(line: str) -> SshKey:
    """Return a registered line as a key. One that is no OpenSSH key has its own hash for an id and no fingerprint."""
    fingerprint = _fingerprint(line)
    words = line.split(None, 2)
    return SshKey(
        id=fingerprint or "SHA256:" + _digest(line.strip().encode()),
        provider=PROVIDER,
        name=words[2].strip() if len(words) > 2 and fingerprint else "",
        fingerprint=fingerprint,
        public_key=line,
    )


def line_of(name: str, public_key: str) -> str:
    """Return the line that registers a public key under a name. Raises Rejected for what cannot be one."""
    if _fingerprint(public_key) is None or "\n" in public_key.strip():
        raise Rejected("The SSH public key is not a one-line OpenSSH key.", provider=PROVIDER, field="ssh_public_key")
    kind, blob, *_ = public_key.split()
    line = f"{kind} {blob} {name.strip()}".strip()
    if not _LINE.fullmatch(line):
        raise Rejected("RunPod does not take this kind or name of SSH key.", provider=PROVIDER, field="ssh_public_key")
    return line


def with_key(lines: Sequence[str], line: str) -> list[str]:
    """Return the set with a key in it. A key that is there already stays as it is, whatever its name."""
    return list(lines) if holds(lines, line) else [*lines, line]


def without_key(lines: Sequence[str], key_id: str) -> list[str]:
    """Return the set without a key, however often it is in it."""
    return [line for line in lines if key_of(line).id != key_id]


def holds(lines: Sequence[str], line: str) -> bool:
    """Say whether a key is in the set: type and key count, not the comment."""
    return key_of(line).id in {key_of(other).id for other in lines}


def _fingerprint(line: str) -> str | None:
    parts = line.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, ValueError):
        return None
    return "SHA256:" + _digest(blob) if blob else None


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
