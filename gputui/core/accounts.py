"""The user's accounts: which providers are on, whether there is a key, and a client for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gputui.local import secrets
from gputui.local.config import Config, provider_url
from gputui.local.secrets import KeyFound
from gputui.model.clock import Clock
from gputui.model.errors import AuthError, GputuiError, SecretsError
from gputui.providers.registry import PROVIDERS, ClientContext, ProviderInfo, make_client, provider_info

if TYPE_CHECKING:
    from gputui.providers.base import Provider

IDENTITY_DEADLINE_S = 20.0


class KeySource(Protocol):
    """Where keys come from: the user's environment, keyring and vault, or what a view handed to the agent."""

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        """Return the key and its source, None when there is none. Raises SecretsError when a store is locked."""
        ...


class HandedKeys:
    """Keys that came over a pipe, kept in memory only; an own source serves what was not handed over."""

    def __init__(self, keys: Mapping[str, str], *, fallback: KeySource | None = None) -> None:
        self._keys = dict(keys)
        self._fallback = fallback

    def add(self, keys: Mapping[str, str]) -> None:
        self._keys.update(keys)

    def find(self, provider: str, variables: Sequence[str]) -> KeyFound | None:
        if key := self._keys.get(provider):
            return KeyFound(value=key, source=secrets.KeySource.HANDED_OVER, where="the view that started this agent")
        return self._fallback.find(provider, variables) if self._fallback else None


@dataclass(frozen=True, slots=True)
class Account:
    """One provider as the user has it. `problem` says why it cannot be used now, with the next step; None when it can."""

    info: ProviderInfo
    label: str
    problem: str | None
    key_source: str | None

    @property
    def usable(self) -> bool:
        return self.problem is None


class Accounts:
    """Makes and keeps one client per account. Keys are looked up once; `forget` looks again."""

    def __init__(
        self,
        *,
        config: Config,
        keys: KeySource,
        clock: Clock,
        state_dir: Path,
        environ: Mapping[str, str],
        urls: Mapping[str, str] | None = None,
        transports: Mapping[str, Any] | None = None,
    ) -> None:
        self._config = config
        self._keys = keys
        self._clock = clock
        self._state_dir = state_dir
        self._environ = environ
        self._urls = dict(urls or {})
        self._transports = transports or {}
        self._found: dict[str, KeyFound | None] = {}
        self._clients: dict[str, Provider] = {}
        self._identities: dict[str, str | None] = {}

    def names(self) -> list[str]:
        """Return the providers that are switched on, in the order they are shown."""
        return [name for name in PROVIDERS if self._config.provider(name).enabled]

    def usable(self) -> list[str]:
        """Return the providers that can be asked now."""
        return [name for name in self.names() if self.account(name).usable]

    def account(self, name: str) -> Account:
        """Return what can be said of an account without asking the provider. Raises NotFoundError."""
        info = provider_info(name)
        config = self._config.provider(name)
        label = config.label or info.title
        if not config.enabled:
            return Account(info, label, f"{info.title} is switched off in the configuration.", None)
        if not info.needs_key:
            return Account(info, label, None, None)
        try:
            found = self._key(name)
        except SecretsError as error:
            return Account(info, label, str(error), None)
        if found is None:
            return Account(info, label, f"no key; run: gputui auth login {name}", None)
        return Account(info, label, None, found.source)

    def client(self, name: str) -> Provider:
        """Return the client of an account, of one that is switched off, too: what runs there is guarded all the same.

        Raises NotFoundError, AuthError when there is no key, SecretsError.
        """
        info = provider_info(name)
        if name not in self._clients:
            found = self._key(name) if info.needs_key else None
            if info.needs_key and found is None:
                raise AuthError(
                    f"There is no key for {info.title}.", provider=name, hint=f"Run: gputui auth login {name}"
                )
            context = ClientContext(
                clock=self._clock,
                state_dir=self._state_dir,
                api_key=found.value if found else "",
                url=self._url(name),
                transport=self._transports.get(name),
            )
            self._clients[name] = make_client(name, context)
        return self._clients[name]

    def fingerprints(self) -> dict[str, str]:
        """Return provider -> a short hash of key and URL, to compare accounts between processes without showing either."""
        prints = {name: self.fingerprint(name) for name in PROVIDERS}
        return {name: found for name, found in prints.items() if found is not None}

    def fingerprint(self, name: str) -> str | None:
        """Return the short hash of one account's key and URL; None when there is no key, or none is needed."""
        found = self._key_to_share(name)
        if found is None:
            return None
        digest = hashlib.sha256(f"gputui\0{name}\0{self._url(name) or ''}\0{found.value}".encode())
        return digest.hexdigest()[:16]

    async def identity(self, name: str) -> str | None:
        """Return what the provider calls the account of the present key; None where it does not tell, or not now."""
        import asyncio  # a tenth of a second that views which only read the store do not pay

        client = self.client(name)
        if name not in self._identities:
            try:
                async with asyncio.timeout(IDENTITY_DEADLINE_S):
                    check = await client.check_key()
            except (GputuiError, TimeoutError):
                return None
            if self._clients.get(name) is not client:
                return None  # the key was changed meanwhile
            self._identities[name] = check.identity
        return self._identities[name]

    async def look_again(self, name: str) -> bool:
        """Look for the key once more, after it was refused; True when there is another one now, which is used from here on."""
        try:
            found = self._keys.find(name, provider_info(name).key_variables)
        except SecretsError:
            return False
        known = self._found.get(name)
        if found is None or (known is not None and known.value == found.value):
            return False
        await self.forget([name])
        return True

    def handover(self) -> bytes:
        """Return keys and URLs as one line of JSON for the agent; travels over a pipe only."""
        keys = {name: found.value for name in PROVIDERS if (found := self._key_to_share(name))}
        urls = {name: url for name in keys if (url := self._url(name))}
        return json.dumps({"keys": keys, "urls": urls}).encode() + b"\n"

    async def take_over(self, document: bytes, handed: HandedKeys) -> None:
        """Use what a view handed over from now on. Raises ValueError for a document that is not one."""
        data = json.loads(document)
        keys = {str(name): str(key) for name, key in dict(data.get("keys", {})).items()}
        handed.add(keys)
        self._urls.update({str(name): str(url) for name, url in dict(data.get("urls", {})).items()})
        await self.forget(list(keys))

    async def forget(self, names: Sequence[str] | None = None) -> None:
        """Drop cached keys and clients, so that the next use looks again."""
        for name in list(self._clients if names is None else names):
            self._found.pop(name, None)
            self._identities.pop(name, None)
            if client := self._clients.pop(name, None):
                await client.aclose()
        if names is None:
            self._found.clear()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.forget()

    def _key(self, name: str) -> KeyFound | None:
        if name not in self._found:
            self._found[name] = self._keys.find(name, provider_info(name).key_variables)
        return self._found[name]

    def _key_to_share(self, name: str) -> KeyFound | None:
        """Return an account's key, switched off or not; None when there is none, none is needed, or its store is locked."""
        if not provider_info(name).needs_key:
            return None
        try:
            return self._key(name)
        except SecretsError:
            return None

    def api_url(self, name: str) -> str:
        """Return the address of a provider's API."""
        return self._url(name) or provider_info(name).default_url

    def _url(self, name: str) -> str | None:
        return self._urls.get(name) or provider_url(self._config, name, self._environ)
