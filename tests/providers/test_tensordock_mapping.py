"""TensorDock's answers in our words: its several envelopes, GPU ids, shapes, prices and machines."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gputui.model.states import MachineState
from gputui.model.types import Machine, Offer, Stock
from gputui.providers.tensordock import mapping, wire
from gputui.providers.tensordock.shapes import Shape, disk_holding, fitting_shape, wanted_shape

ROW = {"id": "a", "name": "n", "status": "running"}
NOW_MS = 1_778_488_937_000
LOCATION_ID = "3f1c9b0e-6c1d-4a5e-9a57-0f2f6d0c5b11"
GPU = {
    "v0Name": "geforcertx4090-pcie-24gb",
    "displayName": "NVIDIA GeForce RTX 4090 PCIe 24GB",
    "max_count": 4,
    "price_per_hr": 0.37,
    "resources": {"max_vcpus": 56, "max_ram_gb": 331, "max_storage_gb": 30200},
    "pricing": {"per_vcpu_hr": 0.003, "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.00005},
    "network_features": {"dedicated_ip_available": True, "port_forwarding_available": True},
}
LOCATION = {
    "id": LOCATION_ID,
    "city": "Chicago",
    "stateprovince": "Illinois",
    "country": "United States",
    "tier": 3,
    "gpus": [GPU],
}
INSTANCE = {
    "type": "virtualmachine",
    "id": "c4a1d6f2-7b35-4e0c-8a91-5d2e9f6b3a77",
    "name": "gputui-t-01abc",
    "status": "running",
    "ipAddress": "203.0.113.42",
    "portForwards": [{"internal_port": 80, "external_port": 20455}, {"internal_port": 22, "external_port": 20456}],
    "resources": {
        "vcpu_count": 8,
        "gpus": {"NVIDIA GeForce RTX 4090 PCIe 24GB": {"count": 2, "v0Name": "geforcertx4090-pcie-24gb"}},
    },
    "rateHourly": 0.468,
}


def offers(*, place: dict[str, Any] | None = None, **changes: Any) -> list[Offer]:
    row = {**copy.deepcopy(LOCATION), **(place or {}), "gpus": [{**copy.deepcopy(GPU), **changes}]}
    return mapping.offers_of(row, NOW_MS)


def machine(**changes: Any) -> Machine:
    found = mapping.machine_of({**INSTANCE, **changes})
    assert found is not None
    return found


class TestOffers:
    def test_every_field(self) -> None:
        offer = offers()[0]
        assert offer.id == f"tensordock:{LOCATION_ID}:geforcertx4090-pcie-24gb:1"
        assert (offer.provider, offer.gpu, offer.gpu_count, offer.vram_gib) == ("tensordock", "RTX-4090", 1, 24)
        assert (offer.vcpus, offer.ram_gib, offer.disk_gib) == (8, 32, 200)
        # 0.37 + 8 x 0.003 + 32 x 0.002 + 200 x 0.00005
        assert offer.price_micro_usd_per_hour == 468_000
        assert (offer.region, offer.stock, offer.fetched_at_ms) == ("chicago-illinois", Stock.LOW, NOW_MS)
        assert offer.native == {
            "location_id": LOCATION_ID,
            "gpu_model": "geforcertx4090-pcie-24gb",
            "vcpu_count": 8,
            "ram_gb": 32,
            "storage_gb": 200,
        }

    def test_one_offer_per_count_each_priced_whole(self) -> None:
        found = offers()
        assert [offer.gpu_count for offer in found] == [1, 2, 3, 4]
        assert [offer.price_micro_usd_per_hour for offer in found] == [468_000, 926_000, 1_384_000, 1_842_000]
        assert len({offer.id for offer in found}) == 4

    def test_sold_out_is_listed_with_a_price(self) -> None:
        (offer,) = offers(max_count=0)
        assert (offer.gpu_count, offer.stock, offer.price_micro_usd_per_hour) == (1, Stock.NONE, 468_000)

    def test_unknown_stock_stays_unknown(self) -> None:
        (offer,) = offers(max_count=None)
        assert (offer.gpu_count, offer.stock) == (1, None)

    def test_an_absurd_count_is_cut(self) -> None:
        assert len(offers(max_count=4_000_000)) == mapping.MAX_GPUS

    def test_a_place_where_no_port_is_forwarded_cannot_be_used(self) -> None:
        closed = {"dedicated_ip_available": True, "port_forwarding_available": False}
        assert {offer.stock for offer in offers(network_features=closed)} == {Stock.NONE}
        assert {offer.stock for offer in offers(network_features=None)} == {Stock.LOW}

    @pytest.mark.parametrize("part", ["max_vcpus", "max_ram_gb", "max_storage_gb"])
    def test_a_place_with_too_little_of_anything_is_sold_out(self, part: str) -> None:
        found = offers(resources={**GPU["resources"], part: 1})  # type: ignore[dict-item]
        assert {offer.stock for offer in found} == {Stock.NONE}

    @pytest.mark.parametrize("part", ["per_vcpu_hr", "per_gb_ram_hr", "per_gb_storage_hr"])
    @pytest.mark.parametrize("told", [None, "call us", -1, float("nan")], ids=str)
    def test_a_machine_with_a_part_of_unknown_price_is_left_out(self, part: str, told: Any) -> None:
        assert offers(pricing={**GPU["pricing"], part: told}) == []  # type: ignore[dict-item]

    @pytest.mark.parametrize(
        "change", [{"price_per_hr": None}, {"price_per_hr": 0}, {"pricing": None}, {"v0Name": None}, {"v0Name": ""}]
    )
    def test_a_row_without_what_counts_is_left_out(self, change: dict[str, Any]) -> None:
        assert offers(**change) == []

    def test_one_bad_row_does_not_cost_the_others(self) -> None:
        rows = [None, 7, {"v0Name": 3}, {**GPU, "v0Name": "l4-pcie-24gb", "max_count": 1}]
        assert [offer.gpu for offer in mapping.offers_of({**LOCATION, "gpus": rows}, NOW_MS)] == ["L4"]

    @pytest.mark.parametrize("row", [None, 3, [], {}, {"id": ""}, {**LOCATION, "id": None}, {**LOCATION, "gpus": None}])
    def test_what_is_no_location_is_left_out(self, row: Any) -> None:
        assert mapping.offers_of(row, NOW_MS) == []

    def test_fractions_of_sizes_and_new_fields_are_no_matter(self) -> None:
        sizes = {"max_vcpus": 56.0, "max_ram_gb": 331.5, "max_storage_gb": "30200", "new": [1]}
        assert [offer.stock for offer in offers(resources=sizes, new={"x": 1})] == [Stock.LOW] * 4

    def test_prices_are_exact(self) -> None:
        pricing = {"per_vcpu_hr": "0.0035", "per_gb_ram_hr": 0.002, "per_gb_storage_hr": 0.000075}
        assert offers(price_per_hr=0.272999, pricing=pricing)[0].price_micro_usd_per_hour == 379_999


class TestRegions:
    @pytest.mark.parametrize(
        ("place", "code"),
        [
            ({}, "chicago-illinois"),
            ({"stateprovince": None}, "chicago-united-states"),
            ({"stateprovince": "", "country": None}, "chicago"),
            ({"city": "Montréal", "stateprovince": "Québec"}, "montreal-quebec"),
            ({"city": "St. John's", "stateprovince": None, "country": "Canada"}, "st-john-s-canada"),
            ({"city": None}, LOCATION_ID),
            ({"city": "東京", "stateprovince": None, "country": None}, LOCATION_ID),
        ],
    )
    def test_code(self, place: dict[str, Any], code: str) -> None:
        assert offers(place=place)[0].region == code
        assert [region.code for region in mapping.regions_of([{**LOCATION, **place}])] == [code]

    def test_each_place_once(self) -> None:
        rows = [LOCATION, {**LOCATION, "id": "other", "gpus": []}, {"id": "x"}, {}, None, 3]
        found = mapping.regions_of(rows)
        assert [(region.code, region.name, region.country) for region in found] == [
            ("chicago-illinois", "Chicago, Illinois, United States", "US"),
            ("x", "x", None),
        ]

    @pytest.mark.parametrize(("told", "country"), [("Canada", "CA"), ("de", "DE"), ("Atlantis", None), (None, None)])
    def test_country(self, told: str | None, country: str | None) -> None:
        assert mapping.regions_of([{**LOCATION, "country": told}])[0].country == country


@pytest.mark.parametrize(
    ("spelling", "name", "vram"),
    [
        ("h100-sxm5-80gb", "H100-SXM", 80),
        ("h100-nvl-94gb", "H100-NVL", 94),
        ("h200-sxm5-141gb", "H200", 141),
        ("a100-sxm4-80gb", "A100-80GB-SXM", 80),
        ("a100-pcie-40gb", "A100-40GB-PCIE", 40),
        ("a100-nvlink-40gb", "A100-40GB", 40),
        ("v100-sxm2-16gb", "V100-16GB", 16),
        ("v100-nvlink-16gb", "V100-16GB", 16),
        ("l40s-pcie-48gb", "L40S", 48),
        ("l40-pcie-48gb", "L40", 48),
        ("a40-pcie-48gb", "A40", 48),
        ("l4-pcie-24gb", "L4", 24),
        ("rtx6000ada-pcie-48gb", "RTX-6000-ADA", 48),
        ("rtx4500ada-pcie-24gb", "RTX-4500-ADA", 24),
        ("rtx4000sffada-pcie-20gb", "RTX-4000-ADA", 20),
        ("rtxa6000-pcie-48gb", "RTX-A6000", 48),
        ("geforcertx4090-pcie-24gb", "RTX-4090", 24),
        ("geforcertx3080ti-pcie-12gb", "RTX-3080-TI", 12),
        ("geforcertx3070ti-pcie-8gb", "RTX-3070-TI", 8),
        ("quadrortx8000-pcie-48gb", "QUADRO-RTX-8000", 48),
        ("quadrortx4000-pcie-8gb", "QUADRO-RTX-4000", 8),
        ("NVIDIA GeForce RTX 4090 PCIe 24GB", "RTX-4090", 24),
        ("NVIDIA H100 SXM5 80GB", "H100-SXM", 80),
        ("NVIDIA L40S", "L40S", 48),
        ("zeta9-pcie-512gb", "zeta9-pcie-512gb", 512),
        ("Zeta 9", "Zeta 9", None),
    ],
)
def test_gpu_names(spelling: str, name: str, vram: int | None) -> None:
    assert mapping.gpu_of(spelling) == mapping.Gpu(name, vram)


class TestShapes:
    @pytest.mark.parametrize(
        ("count", "vram", "shape"),
        [
            (1, 24, Shape(8, 32, 200)),
            (1, None, Shape(8, 32, 200)),
            (2, 24, Shape(16, 64, 200)),
            (1, 40, Shape(8, 48, 200)),
            (1, 80, Shape(8, 80, 200)),
            (1, 141, Shape(8, 144, 200)),
            (4, 80, Shape(32, 256, 200)),
            (8, 80, Shape(64, 512, 200)),
        ],
    )
    def test_wanted(self, count: int, vram: int | None, shape: Shape) -> None:
        assert wanted_shape(count, vram) == shape

    @pytest.mark.parametrize(
        ("limits", "shape"),
        [
            ({}, Shape(16, 64, 200)),
            ({"max_vcpus": 31}, Shape(14, 64, 200)),  # half of the four GPUs' threads, and even
            ({"max_vcpus": 2}, Shape(2, 64, 200)),
            ({"max_vcpus": 1}, None),
            ({"max_ram_gb": 100}, Shape(16, 48, 200)),  # 50 is no step
            ({"max_ram_gb": 8}, Shape(16, 8, 200)),
            ({"max_ram_gb": 7}, None),
            ({"max_storage_gb": 399}, Shape(16, 64, 150)),
            ({"max_storage_gb": 100}, Shape(16, 64, 100)),
            ({"max_storage_gb": 99}, None),
        ],
    )
    def test_two_of_four_gpus_get_half_of_what_is_there(self, limits: dict[str, int], shape: Shape | None) -> None:
        most = wire.WireResources(**limits)
        assert fitting_shape(wanted_shape(2, 24), 2, max_gpus=4, most=most) == shape

    def test_all_gpus_may_take_everything(self) -> None:
        most = wire.WireResources(max_vcpus=8, max_ram_gb=32, max_storage_gb=200)
        assert fitting_shape(wanted_shape(1, 24), 1, max_gpus=1, most=most) == Shape(8, 32, 200)
        assert fitting_shape(wanted_shape(1, 24), 1, max_gpus=None, most=most) == Shape(8, 32, 200)

    @pytest.mark.parametrize(("asked", "disk"), [(1, 100), (100, 100), (101, 150), (500, 500), (512, 550)])
    def test_a_disk_holds_what_was_asked_for(self, asked: int, disk: int) -> None:
        assert disk_holding(asked) == disk


class TestMachines:
    def test_every_field(self) -> None:
        found = machine()
        assert (found.id, found.provider, found.label) == (INSTANCE["id"], "tensordock", "gputui-t-01abc")
        assert (found.state, found.raw_state) == (MachineState.RUNNING, "running")
        assert (found.gpu, found.gpu_count, found.price_micro_usd_per_hour) == ("RTX-4090", 2, 468_000)
        assert (found.ip, found.ssh_port, found.ssh_user) == ("203.0.113.42", 20456, "user")
        assert (found.region, found.created_at_ms, found.started_at_ms) == (None, None, None)

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("running", MachineState.RUNNING),
            ("Running", MachineState.RUNNING),
            ("creating", MachineState.PENDING),
            ("starting", MachineState.PENDING),
            ("stopping", MachineState.STOPPED),
            ("Stopped", MachineState.STOPPED),
            ("stoppeddisassociated", MachineState.STOPPED),
            ("StoppedDisassociated", MachineState.STOPPED),
            ("stopped_disassociated", MachineState.STOPPED),
            ("Stopped - Disassociated", MachineState.STOPPED),
            ("error", MachineState.ERROR),
            ("deleting", MachineState.DELETING),
            ("deleted", MachineState.GONE),
            ("relocating", MachineState.UNKNOWN),
            ("", MachineState.UNKNOWN),
            (None, MachineState.UNKNOWN),
            (400, MachineState.UNKNOWN),
        ],
    )
    def test_states(self, status: Any, state: MachineState) -> None:
        found = machine(status=status)
        assert (found.state, found.raw_state) == (state, str(status or ""))

    @pytest.mark.parametrize(
        "forwards",
        [
            [],
            None,
            "22",
            [{"internal_port": 80, "external_port": 20456}],
            [{"internal_port": 22, "external_port": 0}],
            [{"internal_port": 22, "external_port": 70_000}],
            [{"internal_port": 22}],
            [None, 22],
        ],
    )
    def test_an_address_without_a_way_in_is_not_told(self, forwards: Any) -> None:
        found = machine(portForwards=forwards)
        assert (found.ip, found.ssh_port) == (None, None)

    @pytest.mark.parametrize("told", ["", None])
    def test_a_way_in_without_an_address_is_none(self, told: str | None) -> None:
        assert machine(ipAddress=told).ip is None

    def test_ports_may_be_words_and_names_may_be_snake_case(self) -> None:
        row = {"id": "i", "ip_address": "203.0.113.9", "port_forwards": [{"internal_port": "22", "external_port": "4"}]}
        found = mapping.machine_of(row)
        assert found is not None
        assert (found.ip, found.ssh_port) == ("203.0.113.9", 4)

    @pytest.mark.parametrize(
        ("gpus", "gpu", "count"),
        [
            ({"h100-sxm5-80gb": {"count": 8}}, "H100-SXM", 8),
            ({"NVIDIA L4 PCIe 24GB": {"count": "1"}}, "L4", 1),
            ({"l4-pcie-24gb": None}, "L4", None),
            ({"l4-pcie-24gb": {"count": 1}, "a40-pcie-48gb": {"count": 1}}, None, None),
            ({}, None, None),
            (None, None, None),
            ([{"gpuV0Name": "l4-pcie-24gb"}], None, None),
        ],
    )
    def test_gpus(self, gpus: Any, gpu: str | None, count: int | None) -> None:
        found = machine(resources={"gpus": gpus})
        assert (found.gpu, found.gpu_count) == (gpu, count)

    @pytest.mark.parametrize("rate", [None, 0, "?", -1])
    def test_no_price(self, rate: Any) -> None:
        assert machine(rateHourly=rate).price_micro_usd_per_hour is None

    def test_an_id_is_enough(self) -> None:
        found = mapping.machine_of({"id": "i", "name": "n", "status": "running"})
        assert found is not None
        assert (found.ip, found.gpu, found.price_micro_usd_per_hour, found.ssh_user) == (None, None, None, "user")

    @pytest.mark.parametrize("row", [None, [], {}, {"id": ""}, {"status": "running"}])
    def test_without_an_id_it_is_none(self, row: Any) -> None:
        assert mapping.machine_of(row) is None


class TestEnvelopes:
    @pytest.mark.parametrize(
        "body",
        [
            ROW,
            {"data": ROW},
            {"data": {"type": "VM", "id": "a", "attributes": {"name": "n", "status": "running"}}},
            {"data": {"attributes": ROW}},
        ],
    )
    def test_an_item_in_every_form(self, body: Any) -> None:
        item = wire.item_of(body)
        assert (item["id"], item["name"], item["status"]) == ("a", "n", "running")

    @pytest.mark.parametrize(
        "body",
        [
            {"data": [ROW]},
            {"data": {"instances": [ROW]}},
            {"data": {"instances": [{"id": "a", "attributes": {"name": "n", "status": "running"}}]}},
            {"data": {"type": "list", "id": "instances", "attributes": {"instances": [ROW]}}},
        ],
    )
    def test_a_list_in_every_form(self, body: Any) -> None:
        (row,) = wire.rows_of(body, "instances")
        assert (row["id"], row["name"], row["status"]) == ("a", "n", "running")

    @pytest.mark.parametrize("body", [{"data": []}, {"data": {"instances": []}}])
    def test_an_empty_list(self, body: Any) -> None:
        assert wire.rows_of(body, "instances") == []

    @pytest.mark.parametrize(
        "body", [None, [], {}, {"data": None}, {"data": {}}, {"data": {"instances": None}}, {"instances": []}, "x"]
    )
    def test_what_is_no_list_is_never_an_empty_one(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.rows_of(body, "instances")

    @pytest.mark.parametrize("body", [None, [], "x", 3])
    def test_what_is_no_item(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.item_of(body)


def test_only_public_keys_among_the_secrets() -> None:
    rows = [
        {"type": "SSHKEY", "id": "k1", "name": "laptop"},
        {"type": "secret", "id": "k2", "name": "desk", "attributes": {"type": "SSHKEY"}},
        {"type": "GENERIC", "id": "g1", "name": "token"},
        {"type": "SECRET", "id": "s1", "name": "password"},
        {"type": "SSHKEY", "name": "no id"},
        None,
    ]
    found = mapping.ssh_keys_of(wire.rows_of({"data": {"secrets": rows}}, "secrets"))
    assert [(key.id, key.name, key.public_key) for key in found] == [("k1", "laptop", None), ("k2", "desk", None)]


def test_images_the_default_first() -> None:
    found = mapping.images()
    assert (found[0].value, found[0].is_default) == (mapping.DEFAULT_IMAGE, True)
    assert not any(image.is_default or "windows" in image.value for image in found[1:])
