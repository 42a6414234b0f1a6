"""What Huddle answers its client, written by hand: rows, envelopes, and an API that gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from client_stage import FINGERPRINT, PUBLIC_KEY, Api

from gputui.model.types import CreateRequest, Offer
from gputui.providers.huddle.client import HuddleClient

KEY = "fake-key-0123456789"

OFFER = Offer(
    id="huddle:1H100.80S.30V:FIN-01",
    provider="huddle",
    gpu="H100-SXM",
    gpu_count=1,
    price_micro_usd_per_hour=2_290_000,
    fetched_at_ms=0,
    region="FIN-01",
    native={"cluster_type": "1H100.80S.30V", "location": "FIN-01"},
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
DEPLOYMENT = {
    "id": "dep-1",
    "hostname": "gputui-t-01abc",
    "location": "FIN-01",
    "status": "ordered",
    "specs": {"gpu_model": "H100", "gpu_count": 1, "gpu_vram_gb": 80, "price_per_hr": 2.29},
}
IMAGES = [
    {"id": "img-plain", "image_type": "ubuntu-24.04", "is_default": True},
    {"id": "img-cluster", "image_type": "ubuntu-24.04-cuda-13.0-cluster", "is_cluster": True},
    {"id": "img-docker", "image_type": "ubuntu-24.04-cuda-13.0-open-docker"},
]
OUR_KEY = {"id": "key-ours", "name": "laptop", "fingerprint": FINGERPRINT}
OTHER_KEY = {"id": "key-other", "name": "other", "fingerprint": "SHA256:other"}

DEPLOY = "POST deployments/clusters"


def ok(data: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"code": "OK", "data": data, **more})


def refused(status: int, code: str, text: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"code": code, "error": text})


class HuddleApi(Api):
    """One account with an SSH key of ours, where everything can be ordered."""

    def __init__(self) -> None:
        super().__init__(
            "/api/v1/",
            {
                "GET ssh-keys": ok([OTHER_KEY, OUR_KEY]),
                "GET images": ok({"data": IMAGES, "meta": {"total": 3}}),
                DEPLOY: ok(DEPLOYMENT),
            },
        )

    def client(self, folder: Path) -> HuddleClient:
        return HuddleClient(self.context(folder, key=KEY))
