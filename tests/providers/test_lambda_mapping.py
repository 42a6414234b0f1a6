"""Lambda's JSON in our words. The bodies are composed by hand after the shapes in Lambda's public API document."""

from __future__ import annotations

from typing import Any

import pytest

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.gpus import BY_NAME
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, SshKey, Stock
from gputui.providers.lambda_ import mapping, refusals, resources, wire
from gputui.providers.replies import Reply

NOW_MS = 1_767_603_600_000
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"

H100X8: dict[str, Any] = {
    "name": "gpu_8x_h100_sxm5",
    "description": "8x H100 (80 GB SXM5)",
    "gpu_description": "H100 (80 GB SXM5)",
    "price_cents_per_hour": 3192,
    "architecture": "x86_64",
    "specs": {"vcpus": 208, "memory_gib": 1800, "storage_gib": 22528, "gpus": 8},
}
TEXAS = {"name": "us-south-2", "description": "North Texas, USA"}
OSAKA = {"name": "asia-northeast-1", "description": "Osaka, Japan"}

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


def entry(*regions: Any, **changes: Any) -> dict[str, Any]:
    return {"instance_type": {**H100X8, **changes}, "regions_with_capacity_available": list(regions)}


def reply(status: int, data: Any, *, is_page: bool = False) -> Reply:
    return Reply("do something", status, data, is_page, "req-1", {})


def failed(code: str, message: str = "Something.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "suggestion": "Try.", "request_id": "r"}}


class TestEnvelope:
    @pytest.mark.parametrize("body", [None, [], "x", {}, {"error": {}}, {"data": None}, {"data": {}}, {"data": "x"}])
    def test_what_is_no_list_is_never_an_empty_one(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.rows_of(body)

    @pytest.mark.parametrize("body", [None, {}, {"data": None}, {"data": []}, {"data": "x"}])
    def test_what_is_no_map_is_never_an_empty_market(self, body: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.types_of(body)

    def test_empty_is_a_real_answer(self) -> None:
        assert wire.rows_of({"data": [], "more": 1}) == []
        assert wire.types_of({"data": {}}) == {}

    def test_a_launch(self) -> None:
        assert wire.launched_id({"data": {"instance_ids": ["i-1"]}}) == "i-1"

    @pytest.mark.parametrize(
        "data",
        [None, [], {}, {"instance_ids": None}, {"instance_ids": []}, {"instance_ids": [""]}, {"instance_ids": [7]}],
    )
    def test_a_launch_without_an_id(self, data: Any) -> None:
        with pytest.raises(wire.Unreadable):
            wire.launched_id({"data": data})


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


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "kind", "may_exist"),
        [
            (400, "instance-operations/launch/insufficient-capacity", NoCapacity, False),
            (400, "instance-operations/launch/file-system-in-wrong-region", Rejected, False),
            (400, "global/invalid-parameters", Rejected, False),
            (400, "global/duplicate", Rejected, False),
            (400, "global/quota-exceeded", Rejected, False),
            (403, "global/invalid-address", Rejected, False),
            (403, "global/account-inactive", AuthError, False),
            (403, "global/forbidden", AuthError, False),
            (401, "global/invalid-api-key", AuthError, False),
            (400, "global/object-does-not-exist", Gone, False),
            (404, "global/object-does-not-exist", Gone, False),
            (404, "global/not-found", Gone, False),
            (400, "filesystems/filesystem-in-use", Conflict, False),
            (409, "global/conflict", Conflict, True),
            (409, "strange/word", Conflict, True),
            (409, "global/internal-error", Transient, True),
            (400, "global/unknown", Transient, True),
            (400, "provider/internal-unavailable", Transient, True),
            (503, "provider/internal-unavailable", Transient, True),
            (500, "global/internal-error", Transient, True),
            (500, "global/object-does-not-exist", Transient, True),
            (502, "instance-operations/launch/insufficient-capacity", Transient, True),
            (429, "global/object-does-not-exist", RateLimited, False),
            (418, "strange/word", Rejected, False),
            (200, "global/object-does-not-exist", Gone, False),
            (200, "strange/word", Malformed, True),
        ],
    )
    def test_codes(self, status: int, code: str, kind: type[ProviderError], may_exist: bool) -> None:
        error = refusals.error_in(reply(status, failed(code, "It is so.")), NOW_MS)
        assert type(error) is kind
        assert error.may_exist is may_exist
        assert status in (200, 429) or "It is so." in str(error)

    @pytest.mark.parametrize("data", [{"data": []}, {"data": {}}, {}, []])
    def test_a_good_answer_is_no_error(self, data: Any) -> None:
        assert refusals.error_in(reply(200, data), NOW_MS) is None

    @pytest.mark.parametrize("error", ["text", None, {}, {"code": 7}, ["x"]])
    def test_errors_of_another_shape_count_as_their_status(self, error: Any) -> None:
        assert isinstance(refusals.error_in(reply(401, {"error": error}), NOW_MS), AuthError)
        assert isinstance(refusals.error_in(reply(200, {"error": error}), NOW_MS), Malformed)

    def test_a_quota_is_explained(self) -> None:
        error = refusals.error_in(reply(400, failed("global/quota-exceeded", "Quota exceeded.")), NOW_MS)
        assert isinstance(error, Rejected)
        assert error.field == "quota"
        assert "limit" in str(error)

    def test_an_inactive_account_does_not_blame_the_key(self) -> None:
        error = refusals.error_in(reply(403, failed("global/account-inactive", "Your account is inactive.")), NOW_MS)
        assert "The key may be fine" in str(error)


class TestSshKeys:
    def test_a_key(self) -> None:
        row = {"id": "k1", "name": "desk", "public_key": PUBLIC_KEY, "workspace_id": "w1"}
        assert resources.ssh_key_of(row) == SshKey("k1", "lambda", "desk", FINGERPRINT, PUBLIC_KEY)
        assert resources.workspace_of([{"id": "k0"}, None, row]) == "w1"
        assert resources.workspace_of([{"id": "k0"}]) is None

    @pytest.mark.parametrize(
        "text", [None, "", "nonsense", "ssh-rsa ???", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END"]
    )
    def test_a_key_in_another_form_has_no_fingerprint(self, text: str | None) -> None:
        key = resources.ssh_key_of({"id": "k1", "public_key": text})
        assert key is not None
        assert key.fingerprint is None

    @pytest.mark.parametrize("row", [None, {}, {"name": "desk"}, {"id": ""}])
    def test_no_id_no_key(self, row: Any) -> None:
        assert resources.ssh_key_of(row) is None

    @pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 ???", f"{PUBLIC_KEY}\n{PUBLIC_KEY}"])
    def test_what_is_no_public_key_is_refused(self, text: str) -> None:
        with pytest.raises(Rejected) as caught:
            resources.fingerprint_of(text)
        assert caught.value.field == "ssh_public_key"

    def test_ours_is_found_by_what_it_is_not_by_its_name(self) -> None:
        keys = [SshKey("1", "lambda", "other", "SHA256:x"), SshKey("2", "lambda", "desk", FINGERPRINT)]
        assert resources.name_of_our_key(keys, FINGERPRINT) == "desk"
        assert resources.name_of_our_key(keys, "SHA256:y") is None

    def test_a_name_that_two_keys_have_is_avoided(self) -> None:
        twins = [
            SshKey("1", "lambda", "gputui-wfaZWFbq0dns", FINGERPRINT),
            SshKey("2", "lambda", "gputui-wfaZWFbq0dns"),
        ]
        assert resources.name_of_our_key(twins, FINGERPRINT) is None
        assert resources.free_key_name(twins, FINGERPRINT) == "gputui-wfaZWFbq0dns-2"
        assert resources.free_key_name([], FINGERPRINT) == "gputui-wfaZWFbq0dns"

    @pytest.mark.parametrize("name", ["", "x" * 65])
    def test_names_have_a_length(self, name: str) -> None:
        with pytest.raises(Rejected):
            resources.check_key_name(name)
        assert resources.check_key_name("x" * 64)


class TestRegions:
    def test_regions(self) -> None:
        germany = {"name": "europe-central-1", "description": "Germany"}
        atlantis = {"name": "sea-1", "description": "Atlantis"}
        rows = [TEXAS, TEXAS, OSAKA, germany, atlantis, {"name": "bare-1"}, None, {}]
        assert [(region.code, region.name, region.country) for region in resources.regions_of(rows)] == [
            ("us-south-2", "North Texas, USA", "US"),
            ("asia-northeast-1", "Osaka, Japan", "JP"),
            ("europe-central-1", "Germany", "DE"),
            ("sea-1", "Atlantis", None),
            ("bare-1", "bare-1", None),
        ]


def image(family: str, region: str = "us-south-2", architecture: str = "x86_64", day: int = 1) -> dict[str, Any]:
    return {
        "id": f"{family}-{region}-{architecture}-{day}",
        "name": f"{family} of day {day}",
        "family": family,
        "updated_time": f"2026-06-0{day}T17:20:11.000Z",
        "architecture": architecture,
        "region": {"name": region, "description": ""},
    }


class TestImages:
    ROWS: tuple[Any, ...] = (
        image("lambda-stack-22-04", day=3),
        image("ubuntu-24-04"),
        image("lambda-stack-24-04", day=2),
        image("lambda-stack-24-04", day=1),
        image("lambda-stack-24-04", region="us-east-1", day=1),
        image("gpu-arm", architecture="arm64"),
        image("far-away", region="us-east-1"),
        None,
        {},
    )

    def test_each_family_once_the_default_first(self) -> None:
        images = resources.images_of(self.ROWS, None)
        assert [found.value for found in images] == [
            "lambda-stack-24-04",
            "lambda-stack-22-04",
            "ubuntu-24-04",
            "gpu-arm",
            "far-away",
        ]
        assert [found.value for found in images if found.is_default] == ["lambda-stack-24-04"]
        assert images[0].name == "lambda-stack-24-04 of day 2"

    def test_those_that_fit_an_offer(self) -> None:
        offer = mapping.offers_of(entry(TEXAS), NOW_MS)[0]
        values = [found.value for found in resources.images_of(self.ROWS, offer)]
        assert values == ["lambda-stack-24-04", "lambda-stack-22-04", "ubuntu-24-04"]
        arm = mapping.offers_of(entry(TEXAS, architecture="arm64"), NOW_MS)[0]
        (found,) = resources.images_of(self.ROWS, arm)
        assert (found.value, found.is_default) == ("gpu-arm", False)

    def test_what_is_not_told_is_no_obstacle(self) -> None:
        offer = mapping.offers_of(entry(architecture=None), NOW_MS)[0]
        assert len(resources.images_of(self.ROWS, offer)) == 5


FILESYSTEM: dict[str, Any] = {
    "id": "fs-1",
    "name": "datasets",
    "mount_point": "/lambda/nfs/datasets",
    "created": "2026-08-14T09:12:44.000Z",
    "created_by": {"id": "u", "email": "ops@example.com", "status": "active"},
    "is_in_use": True,
    "region": TEXAS,
    "bytes_used": 3 * 2**29,
}


class TestVolumes:
    def test_a_file_system(self) -> None:
        volume = resources.volume_of(FILESYSTEM)
        assert volume is not None
        assert (volume.id, volume.name, volume.region) == ("fs-1", "datasets", "us-south-2")
        assert (volume.raw_state, volume.used_gib, volume.size_gib) == ("in use", 1.5, None)
        assert volume.created_at_ms == 1_786_698_764_000
        assert volume.price_micro_usd_per_month is None

    @pytest.mark.parametrize(("is_in_use", "word"), [(True, "in use"), (False, "unused"), (None, "")])
    def test_use(self, is_in_use: bool | None, word: str) -> None:
        volume = resources.volume_of({**FILESYSTEM, "is_in_use": is_in_use, "bytes_used": None})
        assert volume is not None
        assert (volume.raw_state, volume.used_gib) == (word, None)

    @pytest.mark.parametrize("row", [None, {}, {"name": "x"}, {"id": ""}])
    def test_no_id_no_volume(self, row: Any) -> None:
        assert resources.volume_of(row) is None

    def test_mounts_are_found_by_id_or_by_name_in_the_same_region(self) -> None:
        volume = resources.volume_of(FILESYSTEM)
        assert volume is not None
        by_id = {
            "id": "i-1",
            "file_system_mounts": [{"file_system_id": "fs-1"}, None],
            "file_system_names": ["datasets"],
        }
        by_name = {"id": "i-2", "region": TEXAS, "file_system_names": ["datasets"]}
        elsewhere = {"id": "i-3", "region": OSAKA, "file_system_names": ["datasets"]}
        none = {"id": "i-4", "region": TEXAS, "file_system_names": []}
        for rows, machines in (
            ([by_id, none], ("i-1",)),
            ([by_name, elsewhere], ("i-2",)),
            ([elsewhere, none, None, {}], ()),
        ):
            assert resources.attached(volume, resources.mounts_of(rows)).attached_to == machines

    def test_two_machines_may_share_one(self) -> None:
        volume = resources.volume_of(FILESYSTEM)
        assert volume is not None
        rows = [{"id": f"i-{n}", "region": TEXAS, "file_system_names": ["datasets"]} for n in (1, 2)]
        assert resources.attached(volume, resources.mounts_of(rows)).attached_to == ("i-1", "i-2")

    @pytest.mark.parametrize("name", ["a", "data-2", "x" * 60])
    def test_good_names(self, name: str) -> None:
        resources.check_filesystem(name, size_gib=None, kind=None)

    @pytest.mark.parametrize(
        ("name", "size_gib", "kind", "field"),
        [
            ("", None, None, "name"),
            ("2data", None, None, "name"),
            ("data_set", None, None, "name"),
            ("x" * 61, None, None, "name"),
            ("data", 100, None, "size_gib"),
            ("data", None, "ssd", "kind"),
        ],
    )
    def test_what_cannot_be_made(self, name: str, size_gib: int | None, kind: str | None, field: str) -> None:
        with pytest.raises(Rejected) as caught:
            resources.check_filesystem(name, size_gib=size_gib, kind=kind)
        assert caught.value.field == field
