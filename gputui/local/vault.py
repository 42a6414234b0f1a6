"""The vault: one file with every key of a profile, encrypted with a passphrase.

JSON: `{"hdr": {"v", "kdf", "t", "m", "p", "salt", "holds"}, "nonce", "ct"}`, bytes in base64. The encryption key is
Argon2id(passphrase, salt) with t passes over m KiB in p lanes; `ct` is AES-256-GCM over the JSON object name -> key, with
the sorted JSON of `hdr` authenticated beside it and a fresh nonce at every write. `holds` names the providers whose keys
are inside, readable without the passphrase, so that a locked vault is only asked to open for what it has.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gputui.local.private_file import PrivateFile
from gputui.model.errors import SecretsError, VaultLocked

VERSION = 1
# RFC 9106, section 4, second recommended option (64 MiB, 3 passes, 4 lanes): about 0.1 s on a small machine.
_PASSES, _MEMORY_KIB, _LANES = 3, 64 * 1024, 4
_MOST_PASSES, _MOST_MEMORY_KIB, _MOST_LANES = 64, 1024 * 1024, 64
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32


class WrongPassphrase(VaultLocked):
    """The passphrase does not open the vault. Code `vault_locked`: asking again is the way on."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A vault file as read: the header (authenticated only once opened) and the encrypted part."""

    header: dict[str, Any]
    nonce: bytes
    ciphertext: bytes

    @property
    def salt(self) -> bytes:
        return base64.b64decode(self.header["salt"])


class Vault:
    """The vault file of one profile. Keeps the derived key in memory once unlocked, never the passphrase."""

    def __init__(self, path: Path) -> None:
        self._file = PrivateFile(path)
        self._key: bytes | None = None
        self._key_salt: bytes | None = None

    @property
    def path(self) -> Path:
        return self._file.path

    def exists(self) -> bool:
        """Return whether there is a vault file. Raises SecretsError when it cannot be read."""
        return self._file.read() is not None

    def holds(self) -> tuple[str, ...]:
        """Return the names of the providers with a key inside, without opening it. Raises SecretsError when damaged."""
        sealed = self._sealed()
        return tuple(sealed.header["holds"]) if sealed else ()

    def is_unlocked(self) -> bool:
        """Return whether the passphrase of the vault as it is now is known."""
        sealed = self._sealed()
        return sealed is not None and self._key is not None and self._key_salt == sealed.salt

    def unlock(self, passphrase: str) -> None:
        """Learn the passphrase, proving it by opening the vault (about 0.1 s).

        Raises WrongPassphrase, or SecretsError when there is no vault or it is damaged.
        """
        sealed = self._sealed()
        if sealed is None:
            raise SecretsError(f"There is no vault at {self.path}.", hint="Run: gputui auth login PROVIDER")
        key = _derive(passphrase, sealed.header, sealed.salt)
        self._open(sealed, key)
        self._key, self._key_salt = key, sealed.salt

    def create(self, passphrase: str) -> None:
        """Make an empty vault; where there is one already, unlock that instead."""
        if not passphrase:
            raise SecretsError("A vault needs a passphrase that is not empty.")
        with self._file.locked():
            if self._file.read() is None:
                salt = os.urandom(_SALT_BYTES)
                header = {
                    "v": VERSION,
                    "kdf": "argon2id",
                    "t": _PASSES,
                    "m": _MEMORY_KIB,
                    "p": _LANES,
                    "salt": base64.b64encode(salt).decode(),
                }
                self._key, self._key_salt = _derive(passphrase, header, salt), salt
                self._seal(header, self._key, {})
                return
        self.unlock(passphrase)

    def get(self, name: str) -> str | None:
        """Return a key, None when the vault does not hold it. Raises VaultLocked when it does and is locked."""
        sealed = self._sealed()
        if sealed is None or name not in sealed.header["holds"]:
            return None
        return self._open(sealed, self._known_key(sealed)).get(name)

    def put(self, name: str, value: str) -> None:
        """Keep a key, replacing an older one of that name. Raises VaultLocked before `create` or `unlock`."""
        with self._file.locked():
            sealed, keys = self._opened()
            self._seal(sealed.header, self._known_key(sealed), {**keys, name: value})

    def remove(self, name: str) -> bool:
        """Forget a key and return whether there was one. Raises VaultLocked when there is one and the vault is locked."""
        if name not in self.holds():
            return False
        with self._file.locked():
            sealed, keys = self._opened()
            if keys.pop(name, None) is None:
                return False
            self._seal(sealed.header, self._known_key(sealed), keys)
        return True

    def _opened(self) -> tuple[_Sealed, dict[str, str]]:
        sealed = self._sealed()
        if sealed is None:
            raise VaultLocked(f"There is no vault at {self.path} yet; it needs a passphrase first.")
        return sealed, self._open(sealed, self._known_key(sealed))

    def _known_key(self, sealed: _Sealed) -> bytes:
        if self._key is None or self._key_salt != sealed.salt:
            raise VaultLocked(
                f"The vault {self.path} is locked.",
                hint="Give its passphrase in GPUTUI_VAULT_PASSPHRASE or in a file named by GPUTUI_VAULT_PASSPHRASE_FILE.",
            )
        return self._key

    def _sealed(self) -> _Sealed | None:
        content = self._file.read()
        if content is None:
            return None
        try:
            document = json.loads(content)
            header = document["hdr"]
            version = header["v"]
            sealed = _Sealed(header, base64.b64decode(document["nonce"]), base64.b64decode(document["ct"]))
            sound = version != VERSION or (_sound(header) and len(sealed.nonce) == _NONCE_BYTES)
        except (ValueError, KeyError, TypeError, binascii.Error):
            sound, version = False, VERSION
        if not sound:
            raise SecretsError(f"The vault {self.path} is damaged and cannot be read.", hint="Restore it from a copy.")
        if version != VERSION:
            raise SecretsError(f"The vault {self.path} was written by a newer version of this program.")
        return sealed

    def _open(self, sealed: _Sealed, key: bytes) -> dict[str, str]:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            plain = AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, _authenticated(sealed.header))
        except InvalidTag:
            raise WrongPassphrase(
                f"The passphrase does not open the vault {self.path}, or the file was altered.", hint="Try again."
            ) from None
        keys: dict[str, str] = json.loads(plain)
        return keys

    def _seal(self, header: dict[str, Any], key: bytes, keys: dict[str, str]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        header = {**header, "holds": sorted(keys)}
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = AESGCM(key).encrypt(nonce, json.dumps(keys).encode(), _authenticated(header))
        document = {
            "hdr": header,
            "nonce": base64.b64encode(nonce).decode(),
            "ct": base64.b64encode(ciphertext).decode(),
        }
        self._file.replace(json.dumps(document).encode() + b"\n")


def _authenticated(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _sound(header: dict[str, Any]) -> bool:
    """Return whether a header is whole and asks for no absurd amount of work or memory."""
    holds = header["holds"]
    return (
        header["kdf"] == "argon2id"
        and all(type(header[name]) is int for name in ("t", "m", "p"))
        and 1 <= header["t"] <= _MOST_PASSES
        and 1 <= header["p"] <= _MOST_LANES
        and 8 * header["p"] <= header["m"] <= _MOST_MEMORY_KIB
        and len(base64.b64decode(header["salt"])) >= 8
        and isinstance(holds, list)
        and all(isinstance(name, str) for name in holds)
    )


def _derive(passphrase: str, header: dict[str, Any], salt: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    # Two keyboards may spell one letter in two ways; NFC makes them one passphrase.
    secret = unicodedata.normalize("NFC", passphrase).encode(errors="surrogateescape")
    try:
        return Argon2id(
            salt=salt, length=_KEY_BYTES, iterations=header["t"], lanes=header["p"], memory_cost=header["m"]
        ).derive(secret)
    except UnsupportedAlgorithm:
        raise SecretsError(
            "This machine's cryptography library has no Argon2id, which the vault needs.",
            hint="Install the cryptography package from PyPI: its OpenSSL has it.",
        ) from None
