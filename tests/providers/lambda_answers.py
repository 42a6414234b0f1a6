"""What Lambda answers its client, written by hand: rows, envelopes, and an API that gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from client_stage import PUBLIC_KEY, Api

from gputui.model.types import CreateRequest, Offer
from gputui.providers.lambda_.client import LambdaClient

URL = "https://cloud.lambda.test/api/v1"
KEY = "secret_fake_0123456789"

OFFER = Offer(
    id="lambda:gpu_1x_h100_sxm5:us-south-2",
    provider="lambda",
    gpu="H100-SXM",
    gpu_count=1,
    price_micro_usd_per_hour=4_290_000,
    fetched_at_ms=0,
    disk_gib=2816,
    region="us-south-2",
    native={"instance_type_name": "gpu_1x_h100_sxm5", "region_name": "us-south-2", "architecture": "x86_64"},
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
TEXAS = {"name": "us-south-2", "description": "North Texas, USA"}
OSAKA = {"name": "asia-northeast-1", "description": "Osaka, Japan"}
H100: dict[str, Any] = {
    "name": "gpu_1x_h100_sxm5",
    "description": "1x H100 (80 GB SXM5)",
    "gpu_description": "H100 (80 GB SXM5)",
    "price_cents_per_hour": 429,
    "specs": {"vcpus": 26, "memory_gib": 225, "storage_gib": 2816, "gpus": 1},
}
H100X8: dict[str, Any] = {
    "name": "gpu_8x_h100_sxm5",
    "description": "8x H100 (80 GB SXM5)",
    "gpu_description": "H100 (80 GB SXM5)",
    "price_cents_per_hour": 3192,
    "architecture": "x86_64",
    "specs": {"vcpus": 208, "memory_gib": 1800, "storage_gib": 22528, "gpus": 8},
}
INSTANCE: dict[str, Any] = {
    "id": "a446ea16d747426a86e1c619f2a163e4",
    "name": "gputui-t-01abc",
    "status": "booting",
    "ssh_key_names": ["laptop"],
    "file_system_names": [],
    "region": TEXAS,
    "instance_type": H100,
}
OUR_KEY = {"id": "key-ours", "name": "laptop", "public_key": PUBLIC_KEY}
OTHER_KEY = {"id": "key-other", "name": "other", "public_key": "ssh-ed25519 AAAAfake other", "workspace_id": "w-7"}

LAUNCH = "POST instance-operations/launch"
TERMINATE = "POST instance-operations/terminate"


def ok(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": data, **more})


def refused(status: int, code: str, text: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": text}})


def entry(*regions: Any, **changes: Any) -> dict[str, Any]:
    """Return a row of the market: a type with eight GPUs and the regions that have some left."""
    return {"instance_type": {**H100X8, **changes}, "regions_with_capacity_available": list(regions)}


NO_CAPACITY = refused(400, "instance-operations/launch/insufficient-capacity", "Not enough capacity.")
MISSING = refused(404, "global/object-does-not-exist", "Specified instance does not exist.")


class LambdaApi(Api):
    """One account with an SSH key of ours, where everything can be launched."""

    def __init__(self) -> None:
        super().__init__(
            "/api/v1/",
            {"GET ssh-keys": ok([OTHER_KEY, OUR_KEY]), LAUNCH: ok({"instance_ids": [INSTANCE["id"]]})},
        )

    def client(self, folder: Path) -> LambdaClient:
        return LambdaClient(self.context(folder, key=KEY, url=URL))
