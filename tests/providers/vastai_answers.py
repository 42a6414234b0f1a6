"""What Vast.ai answers its client, written by hand: rows, envelopes, and an API that gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from client_stage import PUBLIC_KEY, Api

from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.vastai.client import VastClient

URL = "https://console.vast.test"
KEY = "fake0123456789abcdef0123456789abcdef"

OFFER = Offer(
    id="vastai:21348645",
    provider="vastai",
    gpu="RTX-4090",
    gpu_count=1,
    price_micro_usd_per_hour=361_111,
    fetched_at_ms=0,
    disk_gib=912,
    region="CA",
    stock=Stock.LOW,
    native={"ask_id": "21348645", "gpu_name": "RTX 4090", "disk_gb": 40},
)
REQUEST = CreateRequest(
    offer=OFFER,
    label="gputui-t-01abc",
    idempotency_key="idem-1",
    ssh_public_key=PUBLIC_KEY,
    image="pytorch/pytorch:latest",
    command="python train.py",
)
# A constructed offer: 0.35 $/h for the GPU, 0.2 $ per GB and month of disk. 40 GB: 0.35 + 0.2 × 40 / 720 = 0.361111…
ASK: dict[str, Any] = {
    "id": 21348645,
    "ask_contract_id": 21348645,
    "machine_id": 37228,
    "hosting_type": 0,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "gpu_frac": 0.5,
    "cpu_cores": 48,
    "cpu_cores_effective": 24.0,
    "cpu_ram": 128705,
    "disk_space": 912.4,
    "geolocation": "Ontario, CA",
    "dph_base": 0.35,
    "dph_total": 0.3611111111111111,
    "is_bid": False,
    "storage_cost": 0.2,
    "storage_total_cost": 0.011111111111111112,
    "reliability": 0.9964528,
    "reliability2": 0.9964528,
    "verification": "verified",
    "rentable": True,
    "rented": False,
    "external": False,
    "end_date": 1767225600.0,
    "duration": 3149474.36,
}
RUNNING: dict[str, Any] = {
    "id": 36717044,
    "machine_id": 33307,
    "actual_status": "running",
    "intended_status": "running",
    "cur_state": "running",
    "status_msg": "success, running vastai/base-image_cuda-12.4.1-cudnn-devel-ubuntu22.04/ssh\n",
    "label": "gputui-t-01abc",
    "image_runtype": "ssh_direc ssh_proxy",
    "ssh_host": "ssh7.vast.ai",
    "ssh_port": 37044,
    "machine_dir_ssh_port": 37708,
    "public_ipaddr": "203.0.113.20\n",
    "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "37710"}, {"HostIp": "::", "HostPort": "37710"}]},
    "direct_port_count": 6250,
    "start_date": 1763700000.123,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_ram": 24564,
    "disk_space": 40.0,
    "dph_base": 0.35,
    "dph_total": 0.36111,
    "is_bid": False,
    "storage_total_cost": 0.01111,
    "geolocation": "Ontario, CA",
}
INSTANCE: dict[str, Any] = {**RUNNING, "actual_status": None, "status_msg": None}
ID = str(INSTANCE["id"])
OUR_KEY = {"id": 5512, "user_id": 1, "key": PUBLIC_KEY, "created_at": "2026-09-01T12:00:00", "deleted_at": None}

SEARCH = "POST v0/bundles/"
ORDER = "PUT v0/asks/21348645/"
LIST = "GET v1/instances/"
READ = f"GET v0/instances/{ID}/"
MANAGE = f"PUT v0/instances/{ID}/"
END = f"DELETE v0/instances/{ID}/"
ATTACH = f"POST v0/instances/{ID}/ssh/"
KEYS, ADD_KEY = "GET v0/ssh/", "POST v0/ssh/"


def ok(data: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"success": True} if data is None else data)


def refused(status: int, code: str, text: str = "no", **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"success": False, "error": code, "msg": text, **more})


def listing(*rows: dict[str, Any], token: str | None = None) -> httpx.Response:
    return ok({"success": True, "instances_found": len(rows), "next_token": token, "instances": list(rows)})


BAD_KEY = refused(404, "auth_error", "Invalid user key")
MISSING = refused(404, "no_such_instance", "Instance with that ID does not exist.")
TAKEN = refused(404, "invalid_args", "error 404/3603: no_such_ask Instance type by id 1 is not available.", ask_id=1)


class VastApi(Api):
    """One account with a machine and an SSH key of ours, where every offer can be ordered."""

    def __init__(self) -> None:
        super().__init__(
            "/api/",
            {
                KEYS: ok([OUR_KEY]),
                ORDER: ok({"success": True, "new_contract": INSTANCE["id"], "instance_api_key": "fake-instance-key"}),
                READ: ok({"instances": INSTANCE}),
                LIST: listing(INSTANCE),
                END: ok(),
                MANAGE: ok(),
                ATTACH: ok({"success": True, "msg": "SSH key attached successfully"}),
            },
        )

    def client(self, folder: Path) -> VastClient:
        return VastClient(self.context(folder, key=KEY, url=URL))
