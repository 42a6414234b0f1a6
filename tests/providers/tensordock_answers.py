"""What TensorDock answers its client, written by hand: rows, and an API that gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from client_stage import PUBLIC_KEY, Api

from gputui.model.types import CreateRequest, Offer
from gputui.providers.tensordock.client import TensorDockClient

KEY = "fake-tensordock-token-0123456789"
URL = "https://dashboard.tensordock.com/api/v2"

OFFER = Offer(
    id="tensordock:loc-1:geforcertx4090-pcie-24gb:2",
    provider="tensordock",
    gpu="RTX-4090",
    gpu_count=2,
    price_micro_usd_per_hour=926_000,
    fetched_at_ms=0,
    region="chicago-illinois",
    native={
        "location_id": "loc-1",
        "gpu_model": "geforcertx4090-pcie-24gb",
        "vcpu_count": 16,
        "ram_gb": 64,
        "storage_gb": 200,
    },
)
REQUEST = CreateRequest(offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY)
MADE = {"data": {"type": "virtualmachine", "id": "vm-1", "name": "gputui-t-01abc", "status": "running"}}
RUNNING = {
    "type": "virtualmachine",
    "id": "vm-1",
    "name": "gputui-t-01abc",
    "status": "running",
    "ipAddress": "203.0.113.42",
    "portForwards": [{"internal_port": 22, "external_port": 20456}],
    "resources": {"gpus": {"RTX 4090": {"count": 2, "v0Name": "geforcertx4090-pcie-24gb"}}},
    "rateHourly": 0.926,
}
LOCATION = {
    "id": "loc-1",
    "city": "Chicago",
    "stateprovince": "Illinois",
    "country": "United States",
    "gpus": [
        {
            "v0Name": "l4-pcie-24gb",
            "max_count": 2,
            "price_per_hr": 0.3,
            "resources": {"max_vcpus": 32, "max_ram_gb": 128, "max_storage_gb": 4000},
            "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005},
        }
    ],
}

ONE, END, ORDER, LIST = "GET instances/vm-1", "DELETE instances/vm-1", "POST instances", "GET instances"


def ok(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


class TensorDockApi(Api):
    """One organization without machines, where everything can be ordered."""

    def __init__(self) -> None:
        super().__init__(
            "/api/v2/",
            {
                "GET locations": ok({"data": {"locations": [LOCATION]}}),
                LIST: ok({"data": []}),
                ONE: ok(RUNNING),
                ORDER: ok(MADE),
                END: ok({"data": {"attributes": {"message": "Instance deleted successfully"}}}),
            },
        )

    def client(self, folder: Path) -> TensorDockClient:
        return TensorDockClient(self.context(folder, key=KEY, url=URL))
