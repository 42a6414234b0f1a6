"""Huddle's JSON in our words. The bodies are composed by hand after the shapes in Huddle's public documentation."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.states import MachineState
from gputui.model.types import Stock
from gputui.providers.huddle import mapping, wire
from gputui.providers.replies import Reply

NOW_MS = 1_767_603_600_000

OFFER: dict[str, Any] = {
    "id": "off-1",
    "instance_type": "1H100.80S.30V",
    "gpu_model": "H100",
    "gpu_count": 1,
    "gpu_vram_gb": 80,
    "total_vram_gb": 80,
    "vcpu_count": 30,
    "ram_gb": 120,
    "storage_gb": 0,
    "price_per_hr": 2.29,
    "price_per_sec": 0.000636,
    "spot_price_per_hr": 0.92,
    "currency": "USD",
    "is_available": True,
    "regions": [{"code": "FIN-01", "name": "Finland 1", "country_code": "FI"}],
}

DEPLOYMENT: dict[str, Any] = {
    "id": "dep-1",
    "provider_id": "up-1",
    "hostname": "gputui-default-01j",
    "cluster_type": "1H100.80S.30V",
    "location": "FIN-01",
    "status": "running",
    "ip": "203.0.113.57",
    "ssh_user": "root",
    "specs": {"gpu_model": "H100", "gpu_count": 1, "gpu_vram_gb": 80, "price_per_hr": 2.29, "currency": "USD"},
    "created_at": "2026-05-11T08:42:17Z",
    "updated_at": "2026-05-11T08:45:03Z",
}

ROWS = [{"id": "a"}, {"id": "b"}]

CLUSTER = {"id": "i-1", "image_type": "ubuntu-24.04-cuda-13.0-cluster", "is_cluster": True, "is_default": True}
PLAIN = {"id": "i-2", "image_type": "ubuntu-24.04", "is_default": True}
DOCKER_OLD = {"id": "i-3", "image_type": "ubuntu-22.04-cuda-12.4-docker", "is_default": True}
DOCKER_OPEN = {"id": "i-4", "image_type": "ubuntu-24.04-cuda-12.8-open-docker"}
DOCKER_NEW = {"id": "i-5", "image_type": "ubuntu-24.04-cuda-13.0-open-docker"}
BY_DETAIL = {"id": "i-6", "image_type": "ubuntu-24.04-extra", "details": ["Ubuntu 24.04", "Docker"]}


def offers(**changes: Any) -> list[Any]:
    return mapping.offers_of({**OFFER, **changes}, NOW_MS)


class TestLists:
    @pytest.mark.parametrize(
        "body",
        [
            {"code": "OK", "data": ROWS, "meta": {"total": 7, "cursor": "c1", "has_more": True}},
            {"code": "OK", "data": {"data": ROWS, "meta": {"total": 7, "next_cursor": "c1", "has_more": True}}},
            {"data": {"data": ROWS, "meta": {"total": "7", "next_cursor": "c1", "cursor": "c0", "has_more": "true"}}},
        ],
        ids=["flat", "nested", "mixed"],
    )
    def test_both_forms_read_alike(self, body: Any) -> None:
        assert wire.page_of(body) == wire.Page(ROWS, 7, "c1", True)

    def test_plain_list_without_meta(self) -> None:
        assert wire.page_of({"code": "OK", "data": ROWS}) == wire.Page(ROWS)

    @pytest.mark.parametrize("meta", [None, 3, {"total": "many", "next_cursor": "", "has_more": "perhaps"}])
    def test_useless_meta_is_none(self, meta: Any) -> None:
        assert wire.page_of({"data": [], "meta": meta}) == wire.Page([])

    @pytest.mark.parametrize("body", [{"code": "OK", "data": None}, {"data": {"data": None, "meta": {}}}])
    def test_null_is_an_empty_list(self, body: Any) -> None:
        assert wire.page_of(body).rows == []

    @pytest.mark.parametrize(
        "body", [None, [], "x", {}, {"code": "OK"}, {"data": "x"}, {"data": {"id": "a"}}, {"data": {"data": {}}}]
    )
    def test_anything_else_is_never_an_empty_list(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.page_of(body)


class TestOffers:
    def test_every_field(self) -> None:
        (offer,) = offers()
        assert offer.id == "huddle:1H100.80S.30V:FIN-01"
        assert (offer.provider, offer.gpu, offer.gpu_count, offer.vram_gib) == ("huddle", "H100-SXM", 1, 80)
        assert offer.price_micro_usd_per_hour == 2_290_000
        assert (offer.vcpus, offer.ram_gib, offer.disk_gib) == (30, 120, None)
        assert (offer.region, offer.stock, offer.fetched_at_ms) == ("FIN-01", Stock.HIGH, NOW_MS)
        assert offer.native == {"cluster_type": "1H100.80S.30V", "location": "FIN-01"}

    def test_one_offer_per_region_whatever_its_form(self) -> None:
        found = offers(
            regions=["FIN-01", {"code": "FIN-03", "name": "Finland 3"}, "FIN-01", {"name": "nowhere"}, 7, None]
        )
        assert [offer.region for offer in found] == ["FIN-01", "FIN-03"]
        assert len({offer.id for offer in found}) == 2

    @pytest.mark.parametrize(("told", "stock"), [(True, Stock.HIGH), (False, Stock.NONE), (None, None), ("what", None)])
    def test_stock(self, told: Any, stock: Stock | None) -> None:
        assert offers(is_available=told)[0].stock is stock

    @pytest.mark.parametrize("regions", [[], None, "FIN-01"])
    def test_without_a_region_it_cannot_be_had(self, regions: Any) -> None:
        (offer,) = offers(regions=regions)
        assert (offer.region, offer.stock) == (None, Stock.NONE)

    @pytest.mark.parametrize(
        "change",
        [
            {"instance_type": None},
            {"instance_type": ""},
            {"gpu_model": None},
            {"gpu_count": None},
            {"gpu_count": 0},
            {"gpu_count": -1},
            {"price_per_hr": None},
            {"price_per_hr": 0},
            {"price_per_hr": -1},
            {"price_per_hr": "call us"},
            {"price_per_hr": float("nan")},
            {"price_per_hr": float("inf")},
            {"price_per_hr": "1e999999"},
            {"currency": "EUR"},
        ],
        ids=str,
    )
    def test_a_row_without_what_counts_is_left_out(self, change: dict[str, Any]) -> None:
        assert offers(**change) == []

    @pytest.mark.parametrize("row", [None, 3, "x", [], {}])
    def test_what_is_no_row_is_left_out(self, row: Any) -> None:
        assert mapping.offers_of(row, NOW_MS) == []

    def test_odd_fields_do_not_lose_the_offer(self) -> None:
        (offer,) = offers(
            ram_gb="lots", vcpu_count=1.5, gpu_vram_gb=None, storage_gb="900", currency=None, new={"x": [1]}
        )
        assert (offer.ram_gib, offer.vcpus, offer.vram_gib, offer.disk_gib) == (None, None, None, 900)

    def test_prices_are_exact(self) -> None:
        assert offers(price_per_hr="23.920001")[0].price_micro_usd_per_hour == 23_920_001
        assert offers(price_per_hr=0.1 + 0.2)[0].price_micro_usd_per_hour == 300_000

    @pytest.mark.parametrize(
        ("model", "vram", "name"),
        [
            ("H100", 80, "H100-SXM"),
            ("h100", None, "H100-SXM"),
            ("H100 PCIe", 80, "H100-PCIE"),
            ("H100", 94, "H100"),
            ("H200", 141, "H200"),
            ("A100", 40, "A100-40GB"),
            ("A100", 80, "A100-80GB"),
            ("RTX 6000 Ada", 48, "RTX-6000-ADA"),
            ("RTX A6000", 48, "RTX-A6000"),
            ("L40S", 48, "L40S"),
            ("V100", 16, "V100-16GB"),
            ("B200", 180, "B200"),
            ("Zeta-9", 512, "Zeta-9"),
        ],
    )
    def test_gpu_names(self, model: str, vram: int | None, name: str) -> None:
        assert mapping.gpu_of(model, vram) == name


class TestMachines:
    def test_every_field(self) -> None:
        machine = mapping.machine_of(DEPLOYMENT)
        assert machine is not None
        assert (machine.id, machine.provider, machine.label) == ("dep-1", "huddle", "gputui-default-01j")
        assert (machine.state, machine.raw_state) == (MachineState.RUNNING, "running")
        assert (machine.gpu, machine.gpu_count, machine.region) == ("H100-SXM", 1, "FIN-01")
        assert machine.price_micro_usd_per_hour == 2_290_000
        assert (machine.ip, machine.ssh_port, machine.ssh_user) == ("203.0.113.57", 22, "root")
        assert machine.created_at_ms == 1_778_488_937_000
        assert machine.started_at_ms is None

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("ordered", MachineState.PENDING),
            ("provisioning", MachineState.PENDING),
            ("running", MachineState.RUNNING),
            (" Running ", MachineState.RUNNING),
            ("offline", MachineState.STOPPED),
            ("error", MachineState.ERROR),
            ("failed_no_capacity", MachineState.NO_CAPACITY),
            ("deleted", MachineState.GONE),
            ("new", MachineState.PENDING),
            ("pending", MachineState.PENDING),
            ("validating", MachineState.PENDING),
            ("deleting", MachineState.DELETING),
            ("no_capacity", MachineState.NO_CAPACITY),
            ("installation_failed", MachineState.ERROR),
            ("discontinued", MachineState.ERROR),
            ("unknown", MachineState.UNKNOWN),
            ("levitating", MachineState.UNKNOWN),
            ("", MachineState.UNKNOWN),
            (None, MachineState.UNKNOWN),
        ],
    )
    def test_states(self, status: str | None, state: MachineState) -> None:
        machine = mapping.machine_of({**DEPLOYMENT, "status": status})
        assert machine is not None
        assert machine.state is state
        assert machine.raw_state == (status or "")

    def test_an_id_is_enough(self) -> None:
        machine = mapping.machine_of({"id": 17})
        assert machine is not None
        assert (machine.id, machine.state, machine.label, machine.ip) == ("17", MachineState.UNKNOWN, None, None)
        assert (machine.gpu, machine.price_micro_usd_per_hour, machine.ssh_user) == (None, None, "root")

    @pytest.mark.parametrize("row", [None, [], {}, {"id": ""}, {"id": None}, {"status": "running"}])
    def test_without_an_id_it_is_none(self, row: Any) -> None:
        assert mapping.machine_of(row) is None

    @pytest.mark.parametrize(
        ("told", "port"), [(2222, 2222), ("2200", 2200), (0, 22), (-1, 22), (99_999, 22), (None, 22), ("ssh", 22)]
    )
    def test_ssh_port(self, told: Any, port: int) -> None:
        machine = mapping.machine_of({**DEPLOYMENT, "ssh_port": told})
        assert machine is not None
        assert machine.ssh_port == port

    @pytest.mark.parametrize("ip", ["", None])
    def test_no_address_yet(self, ip: str | None) -> None:
        machine = mapping.machine_of({**DEPLOYMENT, "ip": ip})
        assert machine is not None
        assert machine.ip is None

    def test_a_price_in_another_currency_is_not_taken_for_dollars(self) -> None:
        machine = mapping.machine_of({**DEPLOYMENT, "specs": {"price_per_hr": 2, "currency": "EUR"}})
        assert machine is not None
        assert machine.price_micro_usd_per_hour is None

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "", "yesterday", None])
    def test_no_moment(self, moment: str | None) -> None:
        machine = mapping.machine_of({**DEPLOYMENT, "created_at": moment})
        assert machine is not None
        assert machine.created_at_ms is None


class TestBalance:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"balance_cents": 8640, "balance_usd": 86.40}, 86_400_000),
            ({"balance_cents": 4927, "balance_usd": 49.27325}, 49_273_250),
            ({"balance_cents": 4927, "balance_usd": 49.2799}, 49_279_900),
            ({"balance_cents": 8640}, 86_400_000),
            ({"balance_usd": "12.5"}, 12_500_000),
            ({"balance_cents": 8640, "balance_usd": 8640}, 86_400_000),
            ({"balance_cents": -150, "balance_usd": -1.5}, -1_500_000),
            ({"balance_cents": 0, "balance_usd": 0}, 0),
            ({"balance_cents": "?"}, None),
            ({}, None),
            (None, None),
            (86.4, None),
        ],
    )
    def test_balance(self, data: Any, expected: int | None) -> None:
        assert mapping.balance_of(data) == expected


class TestImages:
    @pytest.mark.parametrize(
        ("rows", "first"),
        [
            ([CLUSTER, PLAIN, DOCKER_OLD, DOCKER_OPEN, DOCKER_NEW], "i-5"),
            ([DOCKER_NEW, DOCKER_OPEN, DOCKER_OLD, PLAIN, CLUSTER], "i-5"),
            ([DOCKER_NEW, {**DOCKER_OPEN, "is_default": True}], "i-4"),
            ([PLAIN, DOCKER_OLD], "i-3"),
            ([PLAIN, BY_DETAIL], "i-6"),
            ([CLUSTER, PLAIN], "i-2"),
            ([CLUSTER], "i-1"),
            ([{"id": "i-7", "image_type": "ubuntu-22.04-docker-cluster"}, PLAIN], "i-2"),
        ],
    )
    def test_the_first_suits_one_machine_with_a_container_engine(self, rows: list[Any], first: str) -> None:
        assert mapping.images_of(rows)[0].value == first

    def test_value_is_the_id_or_else_the_slug(self) -> None:
        rows = [{"image_type": "a"}, {"slug": "b"}, {"name": "nothing to order it by"}, None, "x"]
        assert sorted(image.value for image in mapping.images_of(rows)) == ["a", "b"]

    def test_name_and_default(self) -> None:
        (image,) = mapping.images_of([{**PLAIN, "name": "Ubuntu 24.04"}])
        assert (image.name, image.is_default, image.provider) == ("Ubuntu 24.04", True, "huddle")


class TestKeysAndRegions:
    @pytest.mark.parametrize(
        ("public_key", "fingerprint"),
        [
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key",
                "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY",
            ),
            (
                "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBI6EgT+quwKk1MKi8lj0ae+Rvxf+"
                "5DdR4gdm1gWEX8oUfa7zoYFbVNbpAtWMOuFexSBvJSkR/mQjJLDh7/szL8M=\n",
                "SHA256:jrawglelzoyTX5kiARUud/E0d3pQ5gkRP11WqWR0SMg",
            ),
        ],
        ids=["ed25519", "ecdsa"],
    )
    def test_fingerprint_is_what_ssh_keygen_prints(self, public_key: str, fingerprint: str) -> None:
        assert mapping.fingerprint_of(public_key) == fingerprint

    @pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!!", "-----BEGIN OPENSSH PRIVATE KEY-----"])
    def test_what_is_no_key_is_rejected(self, text: str) -> None:
        with pytest.raises(Rejected) as caught:
            mapping.fingerprint_of(text)
        assert caught.value.field == "ssh_public_key"

    def test_regions(self) -> None:
        regions = mapping.regions_of([{"code": "FIN-01", "name": "Finland 1", "country_code": "FI"}, "ICE-01", {}, 3])
        assert [(region.code, region.name, region.country) for region in regions] == [
            ("FIN-01", "Finland 1", "FI"),
            ("ICE-01", "ICE-01", None),
        ]

    @pytest.mark.parametrize("label", ["a", "gputui-default-01jabc", "A1", "a" * 63])
    def test_good_labels(self, label: str) -> None:
        assert mapping.check_label(label) == label

    @pytest.mark.parametrize("label", ["", "-a", "a-", "a_b", "a.b", "a b", "a" * 64, "ä", "a\n"])
    def test_bad_labels(self, label: str) -> None:
        with pytest.raises(Rejected):
            mapping.check_label(label)

    def test_os_volume(self) -> None:
        assert mapping.os_volume_of("job", None) is None
        assert mapping.os_volume_of("job", 50) == {"name": "job-os", "size": 50}
        assert mapping.os_volume_of("job", 512) == {"name": "job-os", "size": 512}

    @pytest.mark.parametrize("size", [0, 49, 513, -1])
    def test_os_volume_of_another_size_is_rejected(self, size: int) -> None:
        with pytest.raises(Rejected) as caught:
            mapping.os_volume_of("job", size)
        assert caught.value.field == "disk_gib"


class TestErrors:
    @staticmethod
    def error(status: int, data: Any) -> ProviderError | None:
        return mapping.error_in(Reply("order a machine", status, data, False, "req-1", {"retry-after": "3"}), NOW_MS)

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "BAD_REQUEST", Rejected),
            (401, "UNAUTHORIZED", AuthError),
            (402, "INSUFFICIENT_CREDITS", NotFunded),
            (404, "NOT_FOUND", Gone),
            (409, "CONFLICT", Conflict),
            (500, "INTERNAL", Transient),
            (502, "BAD_GATEWAY", Transient),
            (400, "INSUFFICIENT_CREDITS", NotFunded),
            (404, "BAD_REQUEST", Rejected),
            (200, "UNAUTHORIZED", AuthError),
            (200, "CONFLICT", Conflict),
            (200, "INTERNAL", Transient),
            (201, "SOMETHING_NEW", Malformed),
            (200, "", Malformed),
            (422, "SOMETHING_NEW", Rejected),
            (402, "SOMETHING_NEW", NotFunded),
            (409, "SOMETHING_NEW", Conflict),
            (403, None, AuthError),
            (429, "BAD_REQUEST", RateLimited),
            (500, "NOT_FOUND", Transient),
            (503, "CONFLICT", Transient),
            (418, None, Rejected),
            (400, "OK", Rejected),
            (409, ["CONFLICT"], Conflict),
        ],
    )
    def test_class(self, status: int, code: Any, kind: type[ProviderError]) -> None:
        error = self.error(status, {"code": code, "error": "the reason"})
        assert type(error) is kind

    @pytest.mark.parametrize(
        ("status", "data"), [(200, {"code": "OK"}), (201, {"data": {}}), (204, []), (200, "deleted"), (200, True)]
    )
    def test_a_good_answer_is_none(self, status: int, data: Any) -> None:
        assert self.error(status, data) is None

    def test_the_sentence_is_kept_and_the_minimum_is_named(self) -> None:
        error = self.error(402, {"code": "INSUFFICIENT_CREDITS", "error": "GPU credits too low: balance $7.35"})
        assert error is not None
        assert "balance $7.35" in error.message
        assert "$20.00" in (error.hint or "")

    def test_retry_after_is_read(self) -> None:
        error = self.error(429, {"code": "RATE_LIMITED"})
        assert isinstance(error, RateLimited)
        assert error.retry_after_s == 3
