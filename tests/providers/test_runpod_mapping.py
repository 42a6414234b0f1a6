"""RunPod's JSON in our words, the bodies after the shapes in its public API document: offers, pods, orders."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from client_stage import PUBLIC_KEY

from gputui.model.errors import Rejected
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock, Tier
from gputui.model.units import parse_iso_utc
from gputui.providers.runpod import mapping, wire

NOW_MS = 1_767_603_600_000

RTX4090: dict[str, Any] = {
    "id": "NVIDIA GeForce RTX 4090",
    "name": "RTX 4090",
    "pool": "ADA_24",
    "manufacturer": "NVIDIA",
    "memory": 24,
    "secure": True,
    "community": True,
    "price": {"secure": 0.74, "community": 0.34, "serverless": 1.1},
    "maxCount": {"secure": 8, "community": 4},
    "availability": "HIGH",
    "dataCenters": [
        {"id": "US-KS-2", "name": "US Kansas 2", "availability": "HIGH"},
        {"id": "EU-RO-1", "name": "EU Romania 1", "availability": "MEDIUM"},
        {"id": "EU-CZ-1", "name": "EU Czechia 1", "availability": "NONE"},
    ],
    "cudaVersions": [{"version": "12.8", "available": True}],
}
POD: dict[str, Any] = {
    "id": "50qynxzilsxoey",
    "name": "gputui-default-01j",
    "status": "RUNNING",
    "actions": ["stop", "restart", "terminate"],
    "image": "acme/train:3",
    "args": "sh -c true",
    "disk": 50,
    "mounts": {"network": [{"volumeId": "2q9m7x4c", "path": "/workspace"}]},
    "ports": ["22/tcp"],
    "env": {"TOKEN": "fake-secret-token"},
    "registry": None,
    "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 2},
    "cloud": "SECURE",
    "dataCenterId": "EU-RO-1",
    "ssh": {
        "proxy": {"host": "ssh.runpod.io", "port": 22, "username": "50qynxzilsxoey-64411eb2"},
        "direct": {"host": "198.51.100.27", "port": 34446, "username": "root", "command": "ssh …"},
    },
    "template": None,
    "cost": 1.4868,
    "locked": False,
    "runtime": {"uptime": 3600, "gpus": [{"util": 94}], "ports": [{"private": 22, "public": 34446, "type": "tcp"}]},
    "createdAt": "2026-01-05T09:00:00Z",
    "startedAt": "2026-01-05T09:01:10Z",
}
OFFER = Offer(
    id="runpod:nvidia-geforce-rtx-4090:2:secure:EU-RO-1",
    provider="runpod",
    gpu="RTX-4090",
    gpu_count=2,
    price_micro_usd_per_hour=1_480_000,
    fetched_at_ms=0,
    region="EU-RO-1",
    tier=Tier.SECURE,
    native={"gpu_id": "NVIDIA GeForce RTX 4090", "cloud": "SECURE", "data_center_id": "EU-RO-1"},
)
REQUEST = CreateRequest(
    offer=OFFER, label="gputui-t-01abc", idempotency_key="idem-1", ssh_public_key=PUBLIC_KEY, image="acme/train:3"
)


def offers(row: Any, cloud: str = "SECURE", count: int = 1) -> list[Offer]:
    return mapping.offers_of(row, cloud, count, NOW_MS)


def machine(**changes: Any) -> Any:
    return mapping.machine_of({**POD, **changes})


class TestOffers:
    def test_one_for_every_data_centre(self) -> None:
        found = offers(RTX4090)
        assert [(offer.region, offer.stock) for offer in found] == [
            ("US-KS-2", Stock.HIGH),
            ("EU-RO-1", Stock.LOW),
            ("EU-CZ-1", Stock.NONE),
        ]
        assert found[0] == Offer(
            id="runpod:nvidia-geforce-rtx-4090:1:secure:US-KS-2",
            provider="runpod",
            gpu="RTX-4090",
            gpu_count=1,
            price_micro_usd_per_hour=740_000,
            fetched_at_ms=NOW_MS,
            vram_gib=24,
            region="US-KS-2",
            tier=Tier.SECURE,
            stock=Stock.HIGH,
            native={"gpu_id": "NVIDIA GeForce RTX 4090", "cloud": "SECURE", "data_center_id": "US-KS-2"},
        )

    def test_clouds_and_counts_are_different_offers(self) -> None:
        found = [offers(RTX4090, cloud, count)[0] for cloud, count in (("SECURE", 8), ("COMMUNITY", 4))]
        assert [(offer.tier, offer.price_micro_usd_per_hour) for offer in found] == [
            (Tier.SECURE, 5_920_000),
            (Tier.COMMUNITY, 1_360_000),
        ]
        assert len({offer.id for offer in [*found, *offers(RTX4090)]}) == 5

    @pytest.mark.parametrize(
        ("change", "cloud", "count"),
        [
            ({}, "COMMUNITY", 8),
            ({"community": False}, "COMMUNITY", 1),
            ({"price": {"secure": 0.0, "community": 0.34}}, "SECURE", 1),
            ({"price": {"secure": 0.74}}, "COMMUNITY", 1),
            ({"price": None}, "SECURE", 1),
            ({"maxCount": {"secure": 0, "community": 1}}, "SECURE", 1),
            ({"maxCount": None}, "SECURE", 2),
            ({"id": "unknown"}, "SECURE", 1),
            ({"id": None}, "SECURE", 1),
            ({"secure": None}, "SECURE", 1),
        ],
    )
    def test_what_is_no_offer(self, change: dict[str, Any], cloud: str, count: int) -> None:
        assert offers({**RTX4090, **change}, cloud, count) == []
        assert offers("nonsense", cloud, count) == []

    @pytest.mark.parametrize(
        ("word", "stock"),
        [("NONE", Stock.NONE), ("LOW", Stock.LOW), ("High", Stock.HIGH), (None, None), ("SOON", None)],
    )
    def test_a_type_in_no_data_centre_is_one_offer_without_a_region(self, word: Any, stock: Any) -> None:
        without = {name: value for name, value in RTX4090.items() if name != "dataCenters"}
        options: list[dict[str, Any]] = [{}, {"dataCenters": []}]
        for centres in options:
            (offer,) = offers({**without, "availability": word, **centres})
            assert (offer.region, offer.stock, offer.id) == (None, stock, "runpod:nvidia-geforce-rtx-4090:1:secure:-")
            assert offer.native["data_center_id"] is None

    def test_prices_are_exact(self) -> None:
        for price, count, micro in ((0.1, 8, 800_000), (2.29, 4, 9_160_000), (0.123456, 1, 123_456)):
            (offer, *_) = offers({**RTX4090, "price": {"secure": price}}, count=count)
            assert offer.price_micro_usd_per_hour == micro

    def test_larger_counts_that_exist(self) -> None:
        small = {**RTX4090, "maxCount": {"secure": 2}}
        assert mapping.counts_in([RTX4090, small, None], "SECURE") == [2, 4, 8]
        assert mapping.counts_in([RTX4090], "COMMUNITY") == [2, 4]
        assert mapping.counts_in([small], "SECURE") == [2]
        assert mapping.counts_in([], "SECURE") == []

    @pytest.mark.parametrize(
        ("native", "name"),
        [
            ("NVIDIA H100 80GB HBM3", "H100-SXM"),
            ("NVIDIA A100-SXM4-80GB", "A100-80GB-SXM"),
            ("NVIDIA A100 80GB PCIe", "A100-80GB-PCIE"),
            ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
            ("NVIDIA B300 SXM6 AC", "B300"),
            ("Tesla V100-PCIE-16GB", "V100-16GB"),
            ("AMD Instinct MI300X OAM", "MI300X"),
            # A part of a GPU is not the GPU.
            (
                "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb",
                "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb",
            ),
        ],
    )
    def test_names(self, native: str, name: str) -> None:
        assert mapping.gpu_of(native) == name


class TestMachines:
    def test_a_pod(self) -> None:
        found = machine()
        assert (found.id, found.provider, found.label) == ("50qynxzilsxoey", "runpod", "gputui-default-01j")
        assert (found.state, found.raw_state) == (MachineState.RUNNING, "RUNNING")
        assert (found.gpu, found.gpu_count, found.region) == ("RTX-4090", 2, "EU-RO-1")
        assert found.price_micro_usd_per_hour == 1_486_800
        assert (found.ip, found.ssh_port, found.ssh_user) == ("198.51.100.27", 34446, "root")
        assert found.created_at_ms == parse_iso_utc("2026-01-05T09:00:00Z")
        assert found.started_at_ms == parse_iso_utc("2026-01-05T09:01:10Z")

    def test_its_secrets_are_not_even_read(self) -> None:
        assert "fake-secret-token" not in repr(wire.read(wire.WirePod, POD))

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("PROVISIONING", MachineState.PENDING),
            ("STARTING", MachineState.PENDING),
            ("running", MachineState.RUNNING),
            ("EXITED", MachineState.STOPPED),
            ("ERROR", MachineState.ERROR),
            ("TERMINATED", MachineState.GONE),
            ("MIGRATING", MachineState.UNKNOWN),
            ("", MachineState.UNKNOWN),
            (None, MachineState.UNKNOWN),
        ],
    )
    def test_states(self, status: Any, state: MachineState) -> None:
        found = machine(status=status)
        assert (found.state, found.raw_state) == (state, status or "")

    @pytest.mark.parametrize("runtime", [None, {}])
    def test_running_is_not_ready_while_the_image_is_pulled(self, runtime: Any) -> None:
        found = machine(runtime=runtime)
        assert (found.state, found.raw_state) == (MachineState.PENDING, "RUNNING")

    @pytest.mark.parametrize(
        "direct", [None, {}, {"host": "198.51.100.27"}, {"host": "", "port": 22}, {"host": "198.51.100.27", "port": 0}]
    )
    def test_no_way_in_yet(self, direct: Any) -> None:
        found = machine(ssh={"proxy": POD["ssh"]["proxy"], "direct": direct})
        assert (found.ip, found.ssh_port, found.ssh_user) == (None, None, "root")

    @pytest.mark.parametrize(
        ("change", "price"),
        [
            ({"cost": 0.744}, 744_000),
            ({"cost": 0.0}, None),
            ({"cost": None}, None),
            ({"status": "STARTING", "cost": 0.0}, None),
            ({"status": "EXITED", "cost": 0.0}, 0),
            ({"status": "EXITED", "cost": 0.0, "mounts": None}, 0),
            ({"status": "EXITED", "cost": 0.0, "mounts": {"persistent": {"size": 73, "path": "/w"}}}, 20_000),
        ],
    )
    def test_price(self, change: dict[str, Any], price: int | None) -> None:
        assert machine(**change).price_micro_usd_per_hour == price

    @pytest.mark.parametrize(
        ("change", "billed"),
        [
            ({"cost": 0.744, "disk": 0, "mounts": None}, (744_000, 744_000)),
            ({"cost": 0.744, "disk": 73}, (744_000, 754_000)),
            ({"cost": 0.744, "disk": 73, "mounts": {"persistent": {"size": 73, "path": "/w"}}}, (744_000, 764_000)),
            ({"cost": 0.744, "status": "STARTING", "disk": 73}, (744_000, 754_000)),
            ({"cost": None}, None),
            ({"status": "EXITED", "cost": 0.0}, (0, 0)),
            ({"status": "EXITED", "cost": 0.0, "mounts": {"persistent": {"size": 73, "path": "/w"}}}, (0, 20_000)),
            ({"status": "ERROR", "cost": 0.744}, None),
        ],
    )
    def test_its_disks_may_cost_more(self, change: dict[str, Any], billed: tuple[int, int] | None) -> None:
        assert machine(**change).billed_micro_usd_per_hour == billed

    def test_what_is_missing_is_unknown(self) -> None:
        found = mapping.machine_of({"id": "x"})
        assert found is not None
        assert (found.label, found.gpu, found.gpu_count, found.region, found.created_at_ms) == (None,) * 5
        assert mapping.machine_of({"name": "x"}) is None
        assert mapping.machine_of(None) is None

    def test_a_cpu_pod_is_listed(self) -> None:
        found = machine(gpu=None, cpu={"id": "cpu3c", "vcpuCount": 2})
        assert (found.gpu, found.gpu_count) == (None, None)

    @pytest.mark.parametrize(
        ("mounts", "keeps"),
        [
            (None, False),
            ({}, False),
            ({"network": []}, False),
            (POD["mounts"], True),
            ({"persistent": {"size": 20}}, True),
        ],
    )
    def test_what_outlives_a_stop(self, mounts: Any, keeps: bool) -> None:
        assert mapping.keeps_its_disk({**POD, "mounts": mounts}) is keeps


class TestOrders:
    SCRIPT = 'printf \'%s\\n\' "$A"\nif [ 1 -gt 0 ]; then echo "it\'s on"; fi &\n'

    def test_a_command_takes_the_images_place(self) -> None:
        request = replace(REQUEST, argv=("sh", "-c", self.SCRIPT), env={"A": "1", "GPUTUI_NONCE": "ab"}, disk_gib=80)
        body = mapping.order_of(request)
        assert shlex.split(body.pop("args")) == ["sh", "-c", self.SCRIPT]
        assert body == {
            "name": "gputui-t-01abc",
            "image": "acme/train:3",
            "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 2},
            "cloud": "SECURE",
            "dataCenterIds": ["EU-RO-1"],
            "disk": 80,
            "env": {"A": "1", "GPUTUI_NONCE": "ab"},
        }

    def test_a_disk_is_always_asked_for(self) -> None:
        assert mapping.order_of(replace(REQUEST, argv=("true",)))["disk"] == 50

    def test_a_machine_to_log_in_to(self) -> None:
        body = mapping.order_of(replace(REQUEST, env={"A": "1"}))
        assert "args" not in body
        assert (body["startSsh"], body["ports"], body["env"]) == (True, ["22/tcp"], {"A": "1"})
        assert body["mounts"] == {"persistent": {"size": 20, "path": "/workspace"}}

    @pytest.mark.parametrize(("asked", "size"), [(1, 10), (500, 500)])
    def test_the_disk_of_a_machine_is_what_outlives_a_stop(self, asked: int, size: int) -> None:
        body = mapping.order_of(replace(REQUEST, disk_gib=asked))
        assert (body["mounts"]["persistent"]["size"], body["disk"]) == (size, 50)

    def test_anywhere(self) -> None:
        offer = replace(OFFER, region=None, native={**OFFER.native, "data_center_id": None})
        assert "dataCenterIds" not in mapping.order_of(replace(REQUEST, offer=offer))

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"image": None}, "image"),
            ({"image": ""}, "image"),
            ({"label": ""}, "label"),
            ({"label": "x" * 192}, "label"),
        ],
    )
    def test_what_cannot_be_ordered(self, change: dict[str, Any], field: str) -> None:
        mapping.check_order(REQUEST)
        with pytest.raises(Rejected) as caught:
            mapping.check_order(replace(REQUEST, **change))
        assert caught.value.field == field
