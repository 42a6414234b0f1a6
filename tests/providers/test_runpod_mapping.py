"""RunPod's JSON in our words. The bodies are composed by hand after the shapes in RunPod's public API document."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gputui.model.errors import (
    AuthError,
    Conflict,
    Gone,
    Malformed,
    NoCapacity,
    NotFunded,
    ProviderError,
    RateLimited,
    Rejected,
    Transient,
)
from gputui.model.logs import LogPage
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Offer, Stock, Tier
from gputui.model.units import parse_iso_utc
from gputui.providers.events import ServerEvent
from gputui.providers.replies import Reply
from gputui.providers.runpod import keys, limits, logs, mapping, refusals, resources, wire

NOW_MS = 1_767_603_600_000
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDUw0VGWImuV62YCeO1Q3RAme5yIBNqE7nVDgUEkb9Oh fake-key"
FINGERPRINT = "SHA256:wfaZWFbq0dnsAc4OjC4v/hI+XcdNPh9pSmeo8yJjUwY"

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
            ({"status": "EXITED", "cost": 0.0}, None),
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


def reply(status: int, data: Any, operation: str = limits.ORDER, **headers: str) -> Reply:
    return Reply(operation, status, data, False, "req-1", httpx.Headers(headers))


def problem(status: int, detail: str = "", **more: Any) -> Reply:
    return reply(status, {"title": "Some Title", "status": status, "detail": detail, **more})


NONE_LEFT = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)


class TestRefusals:
    @pytest.mark.parametrize(
        ("answer", "kind", "may_exist"),
        [
            (problem(400, NONE_LEFT), NoCapacity, False),
            (problem(400, "This machine does not have the resources to deploy your pod."), NoCapacity, False),
            (problem(400, "could not find any pods with required specifications"), NoCapacity, False),
            (problem(400, "There are not enough free GPUs on the host machine to start this pod."), NoCapacity, False),
            (problem(400, "Insufficient resources on this balance of hosts"), NoCapacity, False),
            (problem(400, "request could not be processed"), Rejected, False),
            (problem(400, "Insufficient permissions to mount"), Rejected, False),
            (
                problem(400, "Renting this pod would put you over your current spending limit ($80.00/hr)."),
                NotFunded,
                False,
            ),
            (problem(402, "x"), NotFunded, False),
            (problem(401, "missing bearer token"), AuthError, False),
            (problem(403, "access denied"), AuthError, False),
            (problem(404, "resource not found"), Gone, False),
            (problem(404, "The requested path was not found."), Malformed, True),
            (problem(409, "x"), Conflict, True),
            (problem(413, "x"), Rejected, False),
            (problem(422, "Request validation failed."), Rejected, False),
            (problem(429, "rate limit exceeded for the minute window"), RateLimited, False),
            (problem(500, NONE_LEFT), Transient, True),
            (problem(503, "x"), Transient, True),
        ],
    )
    def test_classes(self, answer: Reply, kind: type[ProviderError], may_exist: bool) -> None:
        error = refusals.error_in(answer, NOW_MS)
        assert type(error) is kind
        assert error is not None
        assert error.may_exist is may_exist

    def test_a_good_answer_is_none(self) -> None:
        assert refusals.error_in(reply(201, POD), NOW_MS) is None

    def test_what_was_wrong_is_told(self) -> None:
        failures = ["$: missing property 'dataCenter'", "$: additional properties 'x' not allowed"]
        error = refusals.error_in(problem(422, "Request validation failed.", errors=failures), NOW_MS)
        assert "Request validation failed.; $: missing property 'dataCenter'; $: additional" in str(error)

    def test_only_an_order_in_conflict_may_have_made_something(self) -> None:
        error = refusals.error_in(reply(409, {"detail": "x"}, limits.STOP), NOW_MS)
        assert error is not None
        assert error.may_exist is False

    def test_how_long_to_wait(self) -> None:
        limit = '"minute";r=0;t=12, "hour";r=2800;t=1812'
        for headers, expected_s in (
            ({"retry-after": "7", "ratelimit": limit}, 7.0),
            ({"ratelimit": limit}, 12.0),
            ({}, None),
        ):
            error = refusals.error_in(reply(429, {"detail": "x"}, **headers), NOW_MS)
            assert isinstance(error, RateLimited)
            assert error.retry_after_s == expected_s

    @pytest.mark.parametrize(
        ("data", "is_fault"),
        [
            ({"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], "data": None}, True),
            ({"errors": [{"message": "x", "extensions": {"code": "FORBIDDEN"}}], "data": None}, False),
            ({"errors": ["x", None], "data": None}, False),
            ({"data": {"myself": None}}, False),
            ([], False),
        ],
    )
    def test_graphql(self, data: Any, is_fault: bool) -> None:
        assert isinstance(refusals.graphql_error_in(reply(200, data)), Transient) is is_fault


class TestLimits:
    @pytest.mark.parametrize(
        ("header", "pause_s"),
        [
            ('"minute";r=0;t=12, "hour";r=2800;t=1812, "day";r=49500;t=45012', 12.0),
            ('"minute";r=0;t=12, "hour";t=1812;r=0', 1812.0),
            ('"minute";r=1;t=12', None),
            ('"minute";r=0;t=0', None),
            ('"minute";r=0', None),
            ("nonsense; r=0x", None),
            ("", None),
        ],
    )
    def test_a_window_that_is_used_up(self, header: str, pause_s: float | None) -> None:
        assert limits.pause_in(httpx.Headers({"RateLimit": header})) == pause_s
        assert limits.pause_in({}) is None

    def test_the_paces_stay_within_the_documented_quota(self) -> None:
        paces = {pace.name: pace for pace in limits.PACES}
        for pace, quota, window_s in ((paces["requests"], 60, 60), (paces["requests"], 3000, 3600)):
            assert pace.burst + window_s / pace.every_s <= quota
        assert paces["day"].burst + 86_400 / paces["day"].every_s <= 50_000


class TestKeys:
    def test_a_line(self) -> None:
        key = keys.key_of(PUBLIC_KEY)
        assert (key.id, key.fingerprint, key.name, key.public_key) == (FINGERPRINT, FINGERPRINT, "fake-key", PUBLIC_KEY)

    def test_a_line_that_is_no_key_can_still_be_told_apart(self) -> None:
        odd = [keys.key_of(line) for line in ("ssh-rsa ???", "command=x ssh-rsa ???", "")]
        assert len({key.id for key in odd}) == 3
        assert {key.fingerprint for key in odd} == {None}

    def test_the_name_is_the_comment(self) -> None:
        assert keys.line_of(" my laptop ", PUBLIC_KEY + "\n") == PUBLIC_KEY.replace("fake-key", "my laptop")
        assert keys.line_of("", PUBLIC_KEY) == PUBLIC_KEY.removesuffix(" fake-key")

    @pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 ???", "rsa AAAA", PUBLIC_KEY + "\n" + PUBLIC_KEY])
    def test_what_is_no_key(self, text: str) -> None:
        with pytest.raises(Rejected) as caught:
            keys.line_of("x", text)
        assert caught.value.field == "ssh_public_key"

    def test_a_name_of_two_lines_cannot_smuggle_a_key_in(self) -> None:
        with pytest.raises(Rejected):
            keys.line_of("x\nssh-ed25519 AAAA evil", PUBLIC_KEY)

    def test_sets(self) -> None:
        other, renamed = "ssh-rsa AAAAfake other", PUBLIC_KEY.replace("fake-key", "renamed")
        assert keys.with_key([other], PUBLIC_KEY) == [other, PUBLIC_KEY]
        assert keys.with_key([other, renamed], PUBLIC_KEY) == [other, renamed]
        assert keys.without_key([renamed, other, PUBLIC_KEY], FINGERPRINT) == [other]


class TestResources:
    @pytest.mark.parametrize(
        ("code", "country"),
        [("US-KS-2", "US"), ("CA-MTL-1", "CA"), ("EU-RO-1", "RO"), ("EUR-IS-2", "IS"), ("AP-JP-1", "JP"), ("X", None)],
    )
    def test_regions(self, code: str, country: str | None) -> None:
        (region,) = resources.regions_of([{"id": code, "name": "Place"}, {"id": code}, {"name": "none"}])[:1]
        assert (region.code, region.country) == (code, country)

    @pytest.mark.parametrize(
        ("change", "price"),
        [
            ({}, 3_500_000),
            ({"size": 1000}, 70_000_000),
            ({"size": 3000}, 170_000_000),
            ({"type": "HIGH_PERFORMANCE"}, None),
            ({"type": None}, None),
            ({"size": None}, None),
        ],
    )
    def test_volumes(self, change: dict[str, Any], price: int | None) -> None:
        row = {"id": "2q9m7x4c", "name": "data", "size": 50, "dataCenter": "US-KS-2", "type": "STANDARD", **change}
        volume = resources.volume_of(row)
        assert volume is not None
        assert (volume.name, volume.region, volume.price_micro_usd_per_month) == ("data", "US-KS-2", price)
        assert resources.volume_of({**row, "id": None}) is None

    def test_who_mounts_what(self) -> None:
        rows = [POD, {**POD, "id": "p2"}, {**POD, "id": "p3", "mounts": None}, {"name": "no id"}]
        assert resources.mounts_in(rows) == {"2q9m7x4c": ("50qynxzilsxoey", "p2")}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": " "}, "name"),
            ({"size_gib": None}, "size_gib"),
            ({"size_gib": 9}, "size_gib"),
            ({"size_gib": 4097}, "size_gib"),
            ({"region": ""}, "region"),
            ({"kind": "tape"}, "kind"),
        ],
    )
    def test_what_cannot_be_a_volume(self, change: dict[str, Any], field: str) -> None:
        good: dict[str, Any] = {"name": "data", "size_gib": 50, "region": "us-ks-2", "kind": "high-performance"}
        assert resources.volume_order(**good) == {
            "name": "data",
            "size": 50,
            "dataCenter": "US-KS-2",
            "type": "HIGH_PERFORMANCE",
        }
        with pytest.raises(Rejected) as caught:
            resources.volume_order(**{**good, **change})
        assert caught.value.field == field

    def test_charges(self) -> None:
        time = {"startTime": "2026-01-05T09:00:00Z", "endTime": "2026-01-05T10:00:00Z"}
        pods = [
            {**time, "podId": "p1", "totalAmount": 0.7468, "gpuAmount": 0.74, "cpuAmount": 0, "diskAmount": 0.0068},
            {**time, "podId": "p2", "totalAmount": 0},
        ]
        (charge,) = resources.pod_charges_of(pods)
        assert (charge.amount_micro_usd, charge.machine_id, charge.what) == (746_800, "p1", "pod")
        assert (charge.from_ms, charge.to_ms) == (NOW_MS, NOW_MS + 3_600_000)
        whole = {**time, "totalAmount": 1.0, "podGpuAmount": 0.74, "podCpuAmount": 0, "podDiskAmount": 0.0068}
        (rest,) = resources.other_charges_of([whole, {**whole, "totalAmount": 0.7468}])
        assert (rest.amount_micro_usd, rest.machine_id) == (253_200, None)

    @pytest.mark.parametrize("missing", ["startTime", "endTime", "podId", "totalAmount"])
    def test_a_charge_that_cannot_be_read_is_not_dropped(self, missing: str) -> None:
        row = {"startTime": "2026-01-05T09:00:00Z", "endTime": "2026-01-05T10:00:00Z", "podId": "p", "totalAmount": 1}
        with pytest.raises(wire.Unreadable):
            resources.pod_charges_of([{**row, missing: None}])

    def test_long_windows_come_by_the_day(self) -> None:
        day_ms = 86_400_000
        assert resources.bucket_for(0, 7 * day_ms) == "hour"
        assert resources.bucket_for(0, 30 * day_ms) == "day"


def event(number: int, text: str | None, **more: Any) -> ServerEvent:
    data = None if text is None else json.dumps({"ts": f"T{number}", "source": "container", "line": text, **more})
    return ServerEvent(f"T{number}/{number:012d}", data)


class TestLogs:
    def test_lines_and_where_to_go_on(self) -> None:
        page = logs.page_of([event(1, "a"), event(2, ""), event(3, "c: d\r\n")], None)
        assert page == LogPage(("a", "", "c: d"), "T3/000000000003")

    def test_nothing_new(self) -> None:
        assert logs.page_of([], "T1/1") == LogPage((), "T1/1")
        assert logs.page_of([], None) == LogPage((), None)

    def test_a_frame_without_data_moves_the_cursor(self) -> None:
        assert logs.page_of([event(1, "a"), event(9, None)], None) == LogPage(("a",), "T9/000000000009")

    def test_each_line_once(self) -> None:
        events = [event(1, "a"), event(2, "b"), event(2, "b"), event(3, "b")]
        assert logs.page_of(events, None).lines == ("a", "b", "b")

    def test_what_was_read_before_comes_back(self) -> None:
        events = [event(number, f"line {number}") for number in range(1, 6)]
        assert logs.page_of(events, "T3/000000000003") == LogPage(("line 4", "line 5"), "T5/000000000005")
        assert logs.page_of(events[:3], "T3/000000000003") == LogPage((), "T3/000000000003")

    def test_all_lines_of_one_second_are_kept(self) -> None:
        """The published document calls the id a moment: then lines share it."""
        events = [ServerEvent("T1", json.dumps({"line": text})) for text in "abb"]
        assert logs.page_of(events, None) == LogPage(("a", "b", "b"), "T1")

    def test_the_hosts_own_lines_are_passed_over(self) -> None:
        page = logs.page_of([event(1, "a"), event(2, "start container", source="system")], None)
        assert page == LogPage(("a",), "T2/000000000002")

    def test_what_is_not_as_documented_is_shown_as_it_came(self) -> None:
        events = [ServerEvent(str(number), data) for number, data in enumerate(("plain", "[1]", '{"x": 1}', "null"))]
        assert logs.page_of(events, None).lines == ("plain", "[1]", '{"x": 1}', "null")

    def test_a_line_of_several_lines(self) -> None:
        assert logs.page_of([event(1, "a\nb\x0bc\u2028d\n")], None).lines == ("a", "b\x0bc\u2028d")

    def test_without_ids_the_moment_is_the_place(self) -> None:
        data = json.dumps({"ts": "T7", "source": "container", "line": "a"})
        assert logs.page_of([ServerEvent(None, data), ServerEvent(None, data)], None) == LogPage(("a", "a"), "T7")

    def test_lines_without_a_place_are_not_read_twice_silently(self) -> None:
        with pytest.raises(wire.Unreadable):
            logs.page_of([ServerEvent(None, "plain")], None)
