"""Which providers there are, and how to get a client for one, without importing any client until it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gputui.model.clock import Clock
from gputui.model.errors import NotFoundError
from gputui.model.types import BillingRule

if TYPE_CHECKING:
    from pathlib import Path

    from gputui.providers.base import Provider


class Runs(StrEnum):
    """How a job runs at a provider: beside Docker on a machine we log in to, or in an image that is the machine, which we
    log in to or only get the log of."""

    VM = "vm"
    SSH_POD = "ssh-pod"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What is known of a provider without talking to it.

    `key_variables` are the environment variables its own tools use for a key, tried after ours. `typical_boot_s` is how
    long a machine usually takes from the order until it runs, for estimates only.
    """

    name: str
    title: str
    short: str
    needs_key: bool
    default_url: str
    key_variables: tuple[str, ...]
    key_page: str
    runs: Runs
    typical_boot_s: int
    billing: BillingRule
    client: str


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What a client is built from. `transport` is an httpx transport (None: the network); the key never leaves the client."""

    clock: Clock
    state_dir: Path
    api_key: str = field(default="", repr=False)
    url: str | None = None
    transport: Any = None


PROVIDERS: Mapping[str, ProviderInfo] = {
    info.name: info
    for info in (
        ProviderInfo(
            name="huddle",
            title="Huddle",
            short="hu",
            needs_key=True,
            default_url="https://gpu.huddleapis.com/api/v1",
            key_variables=("HUDDLE_API_KEY",),
            key_page="the GPU dashboard of console.huddle01.com, under API keys",
            runs=Runs.VM,
            typical_boot_s=150,  # 1 to 3 minutes in public reports of the upstream cloud
            # The guide says 10 minutes at least, then per second, until delete. It does not say whether the clock
            # starts with the order or when the machine first runs, so an interval keeps both edges.
            billing=BillingRule(
                granularity_s=1,
                minimum_s=600,
                starts="ordered-or-running",
                stops="terminate",
                source="Huddle docs, gpu-billing (2026-05)",
            ),
            client="gputui.providers.huddle.client:HuddleClient",
        ),
        ProviderInfo(
            name="mock",
            title="Mock",
            short="mo",
            needs_key=False,
            default_url="",
            key_variables=(),
            key_page="",
            runs=Runs.VM,
            typical_boot_s=2,
            billing=BillingRule(
                granularity_s=1, minimum_s=0, starts="running", stops="terminate", source="providers.mock.cloud"
            ),
            client="gputui.providers.mock.client:MockClient",
        ),
    )
}


def provider_info(name: str) -> ProviderInfo:
    """Return what is known of a provider. Raises NotFoundError, listing the names there are."""
    try:
        return PROVIDERS[name]
    except KeyError:
        known = ", ".join(sorted(PROVIDERS))
        raise NotFoundError(f"There is no provider called {name!r}.", hint=f"Known providers: {known}.") from None


def client_class(name: str) -> type:
    """Return the client's class, importing its module."""
    module_name, _, class_name = provider_info(name).client.partition(":")
    found: type = getattr(importlib.import_module(module_name), class_name)
    return found


def make_client(name: str, context: ClientContext) -> Provider:
    """Return a client for one account."""
    client: Provider = client_class(name)(context)
    return client
