"""Which providers there are, and how to get a client for one, without importing any client until it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gputui.model.clock import Clock
from gputui.model.errors import NotFoundError
from gputui.model.types import BillingRule, BillingStart

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
class OwnKey:
    """A key that a provider puts into each machine, good for that machine alone, and how a machine deletes itself with it.

    `key_variable` and `id_variable` are variables of the machine. `calls` are (method, path, body), the path relative to the
    API's address and "{id}" standing for the machine's id; all are made, since nobody on the machine reads the answers.
    """

    key_variable: str
    id_variable: str
    calls: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What is known of a provider without talking to it.

    `key_variables` are the environment variables its own tools use for a key, tried after ours. `typical_boot_s` is how
    long a machine usually takes from the order until it runs, for estimates only. `key_prefixes` are what its keys are
    known to begin with, for hints only: none is ever refused for it. A machine whose shell does not answer after
    `boot_timeout_s` is given up. `own_key` is what a machine can delete itself with (None: only its owner can).
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
    key_prefixes: tuple[str, ...] = ()
    boot_timeout_s: int = 900
    own_key: OwnKey | None = None


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
                starts=BillingStart.ORDERED_OR_RUNNING,
                source="Huddle docs, gpu-billing (2026-05)",
            ),
            client="gputui.providers.huddle.client:HuddleClient",
            key_prefixes=("mk_", "gk_"),  # Huddle docs, API keys and CLI
        ),
        ProviderInfo(
            name="runpod",
            title="RunPod",
            short="rp",
            needs_key=True,
            default_url="https://api.runpod.io/v2",
            key_variables=("RUNPOD_API_KEY",),
            key_page="the settings of console.runpod.io, under API keys",
            runs=Runs.POD,
            typical_boot_s=240,  # pulling a large image takes 2 to 10 minutes in public reports
            # Per second; whether from placement, pull or container start is not told, so both edges are kept.
            billing=BillingRule(
                granularity_s=1,
                minimum_s=0,
                starts=BillingStart.ORDERED_OR_RUNNING,
                source="RunPod docs, pods/pricing and accounts-billing/billing (2026-08)",
            ),
            client="gputui.providers.runpod.client:RunPodClient",
            key_prefixes=("rpa_",),  # RunPod docs, get-started/api-keys
            # RunPod docs, pods/references/environment-variables. In public reports the key ends its pod by GraphQL and is
            # refused by REST; GraphQL is to be switched off, so both are asked.
            own_key=OwnKey(
                "RUNPOD_API_KEY",
                "RUNPOD_POD_ID",
                (
                    ("POST", "../graphql", '{"query":"mutation { podTerminate(input: {podId: \\"{id}\\"}) }"}'),
                    ("DELETE", "pods/{id}", ""),
                ),
            ),
        ),
        ProviderInfo(
            name="lambda",
            title="Lambda",
            short="la",
            needs_key=True,
            default_url="https://cloud.lambda.ai/api/v1",
            key_variables=("LAMBDA_API_KEY",),
            key_page="https://cloud.lambda.ai/api-keys/cloud-api",
            runs=Runs.VM,
            typical_boot_s=300,  # 4 to 6 minutes in public measurements of one-GPU types; 10 to 15 for several GPUs
            # By the minute once health checks pass; an older page of the docs says from boot, so both edges are kept.
            billing=BillingRule(
                granularity_s=60,
                minimum_s=0,
                starts=BillingStart.ORDERED_OR_RUNNING,
                source="Lambda docs, public-cloud/billing (2026)",
            ),
            client="gputui.providers.lambda_.client:LambdaClient",
            key_prefixes=("secret_",),  # brevdev/cloud, lambdalabs/CONTRIBUTE
            boot_timeout_s=1500,  # several GPUs take 10 to 15 minutes in public measurements
        ),
        ProviderInfo(
            name="vastai",
            title="Vast.ai",
            short="va",
            needs_key=True,
            default_url="https://console.vast.ai",
            key_variables=("VAST_API_KEY",),
            key_page="the keys page of cloud.vast.ai",
            runs=Runs.SSH_POD,
            typical_boot_s=180,  # most of it the image pull, in public reports
            # Per second: the disk from the order on, the GPUs while they run, traffic by the byte. The machine tells.
            billing=BillingRule(
                granularity_s=1,
                minimum_s=0,
                starts=BillingStart.BY_STATE,
                source="Vast.ai docs, billing (2026-08)",
            ),
            client="gputui.providers.vastai.client:VastClient",
            # Vast.ai docs, instances/environment: a key to start, stop, destroy and read its own instance
            own_key=OwnKey("CONTAINER_API_KEY", "CONTAINER_ID", (("DELETE", "api/v0/instances/{id}/", ""),)),
        ),
        ProviderInfo(
            name="tensordock",
            title="TensorDock",
            short="td",
            needs_key=True,
            default_url="https://dashboard.tensordock.com/api/v2",
            key_variables=("TENSORDOCK_API_TOKEN",),  # TENSORDOCK_API_KEY is often the old API's id, not the token
            key_page="dashboard.tensordock.com/developers, the API Token of an authorization",
            runs=Runs.VM,
            typical_boot_s=90,  # address 5-30 s after the order, first boot 60-90 s more, in public reports
            billing=BillingRule(
                granularity_s=1,
                minimum_s=0,
                starts=BillingStart.ORDERED_OR_RUNNING,
                source="TensorDock's cloud GPU page (per second) and storefront (what each state costs)",
            ),
            client="gputui.providers.tensordock.client:TensorDockClient",
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
                granularity_s=1, minimum_s=0, starts=BillingStart.RUNNING, source="providers.mock.cloud"
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


def provider_title(name: str) -> str:
    """Return what people call a provider; of one that this version does not know, its name."""
    info = PROVIDERS.get(name)
    return info.title if info is not None else name


def foreign_key_hint(name: str, key: str) -> str | None:
    """Return what to do about a key that looks like another provider's, None for one that does not."""
    info = PROVIDERS.get(name)
    if info is not None and key.startswith(info.key_prefixes):
        return None
    owner = next((other for other in PROVIDERS.values() if key.startswith(other.key_prefixes)), None)
    return f"It looks like a key of {owner.title}. If it is, run: gputui auth login {owner.name}" if owner else None


def client_class(name: str) -> type:
    """Return the client's class, importing its module."""
    module_name, _, class_name = provider_info(name).client.partition(":")
    found: type = getattr(importlib.import_module(module_name), class_name)
    return found


def make_client(name: str, context: ClientContext) -> Provider:
    """Return a client for one account."""
    client: Provider = client_class(name)(context)
    return client
