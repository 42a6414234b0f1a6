"""Lambda's JSON in our words, the bodies after the shapes in its public API document: offers, machines, orders."""

from __future__ import annotations

from typing import Any

import pytest
from client_stage import PUBLIC_KEY
from lambda_answers import H100X8, OSAKA, TEXAS, entry

from gputui.model.errors import Rejected
from gputui.model.gpus import BY_NAME
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock
from gputui.providers.lambda_ import mapping

NOW_MS = 1_767_603_600_000

INSTANCE: dict[str, Any] = {
    "id": "a446ea16d747426a86e1c619f2a163e4",
    "name": "gputui-default-01j",
    "ip": "198.51.100.27",
    "private_ip": "10.19.60.24",
    "status": "active",
    "ssh_key_names": ["gputui-key"],
    "file_system_names": [],
    "region": TEXAS,
    "instance_type": H100X8,
    "hostname": "198-51-100-27",
    "jupyter_token": "fake-jupyter-token",
    "jupyter_url": "https://jupyter.test/?token=fake-jupyter-token",
    "actions": {"restart": {"available": True}},
    "is_reserved": False,
}


class TestGpus:
    @pytest.mark.parametrize(
        ("text", "name", "count", "vram_gib"),
        [
            ("1x RTX 6000 (24 GB)", "QUADRO-RTX-6000", 1, 24),
            ("4x A6000 (48 GB)", "RTX-A6000", 4, 48),
            ("1x A10 (24 GB PCIe)", "A10", 1, 24),
            ("2x A100 (40 GB PCIe)", "A100-40GB-PCIE", 2, 40),
            ("1x A100 (40 GB SXM4)", "A100-40GB-SXM", 1, 40),
            ("8x A100 (80 GB SXM4)", "A100-80GB-SXM", 8, 80),
            ("1x GH200 (96 GB)", "GH200", 1, 96),
            ("1x H100 (80 GB PCIe)", "H100-PCIE", 1, 80),
            ("8x H100 (80 GB SXM5)", "H100-SXM", 8, 80),
            ("2x B200 (180 GB SXM6)", "B200", 2, 180),
            ("8x Tesla V100 (16 GB)", "V100-16GB", 8, 16),
            ("H100 (80 GB SXM5)", "H100-SXM", None, 80),
            ("gpu_8x_h100_sxm5", "H100-SXM", 8, 80),
            ("gpu_1x_gh200", "GH200", 1, 96),
            ("gpu_8x_a100_80gb_sxm4", "A100-80GB-SXM", 8, 80),
        ],
    )
    def test_descriptions(self, text: str, name: str, count: int | None, vram_gib: int) -> None:
        assert mapping.gpus_of(text) == mapping.Gpus(name, count, vram_gib)
        assert name in BY_NAME

    @pytest.mark.parametrize(
        ("text", "name", "count"),
        [
            ("4x Q9000 (512 GB SXM9)", "Q9000 SXM9", 4),
            ("2x Q9000", "Q9000", 2),
            ("Q9000 (two) (512 GB)", "Q9000 (two) (512 GB)", None),
        ],
    )
    def test_an_unknown_model_is_kept_as_it_came(self, text: str, name: str, count: int | None) -> None:
        found = mapping.gpus_of(text)
        assert (found.name, found.count) == (name, count)


class TestOffers:
    def test_one_per_region_with_capacity(self) -> None:
        offers = mapping.offers_of(entry(TEXAS, OSAKA), NOW_MS)
        assert offers == [
            Offer(
                id=f"lambda:gpu_8x_h100_sxm5:{code}",
                provider="lambda",
                gpu="H100-SXM",
                gpu_count=8,
                price_micro_usd_per_hour=31_920_000,
                fetched_at_ms=NOW_MS,
                vram_gib=80,
                vcpus=208,
                ram_gib=1800,
                disk_gib=22528,
                region=code,
                stock=Stock.LOW,
                native={
                    "instance_type_name": "gpu_8x_h100_sxm5",
                    "region_name": code,
                    "architecture": "x86_64",
                },
            )
            for code in ("us-south-2", "asia-northeast-1")
        ]

    @pytest.mark.parametrize("regions", [[], [None], [{}], [{"name": ""}], ["us-south-2"]])
    def test_sold_out_is_shown_and_has_no_place(self, regions: list[Any]) -> None:
        (offer,) = mapping.offers_of(entry(*regions), NOW_MS)
        assert (offer.id, offer.region, offer.stock) == ("lambda:gpu_8x_h100_sxm5:-", None, Stock.NONE)

    def test_a_region_told_twice_counts_once(self) -> None:
        assert len(mapping.offers_of(entry(TEXAS, TEXAS), NOW_MS)) == 1

    def test_the_price_is_exact_and_for_the_whole_machine(self) -> None:
        (offer,) = mapping.offers_of(entry(TEXAS, price_cents_per_hour=69), NOW_MS)
        assert offer.price_micro_usd_per_hour == 690_000

    @pytest.mark.parametrize(
        "changes",
        [
            {"price_cents_per_hour": None},
            {"price_cents_per_hour": 0},
            {"price_cents_per_hour": -5},
            {"price_cents_per_hour": "free"},
            {"price_cents_per_hour": 10**17},
            {"name": None},
            {"specs": {"vcpus": 4, "memory_gib": 16, "storage_gib": 512, "gpus": 0}},
        ],
    )
    def test_rows_that_cannot_be_rented_as_gpus(self, changes: dict[str, Any]) -> None:
        assert mapping.offers_of(entry(TEXAS, **changes), NOW_MS) == []

    @pytest.mark.parametrize("row", [None, [], "x", {}, {"instance_type": None}, {"instance_type": []}])
    def test_rows_that_are_none(self, row: Any) -> None:
        assert mapping.offers_of(row, NOW_MS) == []

    def test_a_missing_count_is_read_from_the_description(self) -> None:
        (offer,) = mapping.offers_of(entry(TEXAS, specs=None), NOW_MS)
        assert (offer.gpu_count, offer.vcpus, offer.disk_gib) == (8, None, None)

    def test_a_missing_description_leaves_the_name(self) -> None:
        (offer,) = mapping.offers_of(entry(TEXAS, description=None, gpu_description=None), NOW_MS)
        assert (offer.gpu, offer.gpu_count, offer.vram_gib) == ("H100-SXM", 8, 80)

    def test_arm_is_told(self) -> None:
        row = entry(TEXAS, name="gpu_1x_gh200", description="1x GH200 (96 GB)", architecture="arm64")
        (offer,) = mapping.offers_of(row, NOW_MS)
        assert offer.native["architecture"] == "arm64"


class TestMachines:
    def test_an_active_one(self) -> None:
        machine = mapping.machine_of(INSTANCE)
        assert machine is not None
        assert (machine.id, machine.provider) == (INSTANCE["id"], "lambda")
        assert (machine.state, machine.raw_state) == (MachineState.RUNNING, "active")
        assert machine.label == "gputui-default-01j"
        assert (machine.gpu, machine.gpu_count) == ("H100-SXM", 8)
        assert (machine.region, machine.price_micro_usd_per_hour) == ("us-south-2", 31_920_000)
        assert (machine.ip, machine.ssh_port, machine.ssh_user) == ("198.51.100.27", 22, "ubuntu")
        assert machine.created_at_ms is None
        assert "fake-jupyter-token" not in repr(machine)

    @pytest.mark.parametrize("form", ["absent", "null"])
    def test_a_booting_one(self, form: str) -> None:
        unset = ("ip", "private_ip", "name", "hostname", "jupyter_token", "jupyter_url")
        row: dict[str, Any] = {**INSTANCE, **dict.fromkeys(unset), "status": "booting"}
        if form == "absent":
            row = {key: value for key, value in row.items() if key not in unset}
        machine = mapping.machine_of(row)
        assert machine is not None
        assert (machine.state, machine.ip, machine.label) == (MachineState.PENDING, None, None)

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("booting", MachineState.PENDING),
            ("active", MachineState.RUNNING),
            ("unhealthy", MachineState.UNKNOWN),
            ("preempted", MachineState.ERROR),
            ("terminating", MachineState.DELETING),
            ("terminated", MachineState.GONE),
            ("levitating", MachineState.UNKNOWN),
            ("", MachineState.UNKNOWN),
            (None, MachineState.UNKNOWN),
        ],
    )
    def test_states(self, status: str | None, state: MachineState) -> None:
        assert mapping.state_of(status) is state

    def test_only_what_is_over_counts_as_gone(self) -> None:
        words = ("booting", "active", "unhealthy", "preempted", "terminating", "terminated", "levitating")
        assert [word for word in words if mapping.state_of(word).is_gone] == ["terminated"]

    def test_one_of_which_little_is_told(self) -> None:
        machine = mapping.machine_of({"id": "i-1", "region": "us-south-2", "instance_type": [], "status": 7})
        assert machine is not None
        assert (machine.id, machine.state, machine.raw_state) == ("i-1", MachineState.UNKNOWN, "7")
        assert (machine.gpu, machine.gpu_count, machine.region) == (None, None, None)
        assert machine.price_micro_usd_per_hour is None

    def test_a_port_is_taken_where_one_comes(self) -> None:
        machine = mapping.machine_of({**INSTANCE, "ssh_port": 40022})
        assert machine is not None
        assert machine.ssh_port == 40022

    def test_a_machine_without_gpus_has_none(self) -> None:
        kind = {"name": "cpu_4x_general", "description": "4x CPU", "price_cents_per_hour": 20, "specs": {"gpus": 0}}
        machine = mapping.machine_of({**INSTANCE, "instance_type": kind})
        assert machine is not None
        assert (machine.gpu, machine.gpu_count, machine.price_micro_usd_per_hour) == (None, None, 200_000)

    @pytest.mark.parametrize("row", [None, [], "x", {}, {"id": None}, {"id": ""}, {"status": "active"}])
    def test_no_id_no_machine(self, row: Any) -> None:
        assert mapping.machine_of(row) is None


class TestOrders:
    OFFER = mapping.offers_of(entry(TEXAS), NOW_MS)[0]

    def request(self, **changes: Any) -> CreateRequest:
        facts: dict[str, Any] = {
            "offer": self.OFFER,
            "label": "gputui-t-01abc",
            "idempotency_key": "idem-1",
            "ssh_public_key": PUBLIC_KEY,
        }
        return CreateRequest(**{**facts, **changes})

    def test_the_body(self) -> None:
        assert mapping.order_of(self.request(), "our-key") == {
            "region_name": "us-south-2",
            "instance_type_name": "gpu_8x_h100_sxm5",
            "ssh_key_names": ["our-key"],
            "name": "gputui-t-01abc",
        }

    @pytest.mark.parametrize(
        ("os_image", "image"),
        [
            ("lambda-stack-24-04", {"family": "lambda-stack-24-04"}),
            ("43336648-096d-4cba-9aa2-f9bb7727639d", {"id": "43336648-096d-4cba-9aa2-f9bb7727639d"}),
            ("0920582c7ff041399e34823a0be62549", {"id": "0920582c7ff041399e34823a0be62549"}),
        ],
    )
    def test_an_image_is_named_by_family_or_id(self, os_image: str, image: dict[str, str]) -> None:
        assert mapping.order_of(self.request(os_image=os_image), "k")["image"] == image

    def test_fits(self) -> None:
        mapping.check_order(self.request(label="x" * 64, disk_gib=22528))

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"label": "x" * 65}, "label"),
            ({"label": ""}, "label"),
            ({"disk_gib": 22529}, "disk_gib"),
            ({"offer": mapping.offers_of(entry(), NOW_MS)[0]}, "region"),
        ],
    )
    def test_does_not_fit(self, changes: dict[str, Any], field: str) -> None:
        with pytest.raises(Rejected) as caught:
            mapping.check_order(self.request(**changes))
        assert caught.value.field == field
