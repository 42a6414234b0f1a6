"""Orders of machines with volumes, as each provider takes them: the body that leaves, and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gputui.model.errors import Rejected
from gputui.model.types import CreateRequest, Offer, Tier, Volume
from gputui.providers.base import capabilities_of
from gputui.providers.lambda_ import mapping as lambda_mapping
from gputui.providers.lambda_ import resources as lambda_resources
from gputui.providers.registry import PROVIDERS, client_class
from gputui.providers.runpod import mapping as runpod_mapping
from gputui.providers.runpod import resources as runpod_resources
from gputui.providers.vastai import mapping as vastai_mapping
from gputui.providers.vastai import resources as vastai_resources

NATIVE: dict[str, dict[str, Any]] = {
    "lambda": {"instance_type_name": "gpu_1x_h100_sxm5", "region_name": "here"},
    "runpod": {"gpu_id": "NVIDIA H100 80GB HBM3", "cloud": "SECURE", "data_center_id": "here"},
    "vastai": {"ask_id": "7", "machine_id": "37228"},
}


def offer(provider: str, **changes: Any) -> Offer:
    made = Offer("o", provider, "H100-SXM", 1, 2_990_000, 0, region="here", tier=Tier.SECURE, native=NATIVE[provider])
    return replace(made, **changes)


def volume(provider: str, **changes: Any) -> Volume:
    return replace(Volume("123", provider, "data", "", region="here", host="37228"), **changes)


def request(provider: str, *volumes: Volume, **changes: Any) -> CreateRequest:
    return CreateRequest(offer(provider, **changes), "gputui-x", "k", "ssh-ed25519 AAAA", image="a/b", volumes=volumes)


def test_the_table_tells_who_can_by_what_the_clients_implement() -> None:
    able = {name for name in PROVIDERS if capabilities_of(client_class(name))["attach volumes at create"]}
    assert able == {"runpod", "lambda", "vastai"}
    assert all(capabilities_of(client_class(name))["volumes"] for name in able)


class TestLambda:
    def test_a_launch_names_file_systems(self) -> None:
        body = lambda_mapping.order_of(request("lambda", volume("lambda"), volume("lambda", name="more")), "key")
        assert body["file_system_names"] == ["data", "more"]
        assert "file_system_names" not in lambda_mapping.order_of(request("lambda"), "key")

    @pytest.mark.parametrize(
        ("told", "path"),
        [
            ({"mount_point": "/home/ubuntu/data"}, "/home/ubuntu/data"),
            ({}, "/lambda/nfs/data"),
            ({"mount_point": ["/x"]}, "/lambda/nfs/data"),
            ({"name": None}, None),
        ],
    )
    def test_where_it_will_be_mounted(self, told: dict[str, Any], path: str | None) -> None:
        found = lambda_resources.volume_of({"id": "1", "name": "data", **told})
        assert found is not None
        assert found.mount_path == path

    def test_another_region_is_refused_before_anything_is_sent(self) -> None:
        with pytest.raises(Rejected, match="is in here, the volume data in there") as caught:
            lambda_mapping.check_order(request("lambda", volume("lambda", region="there")))
        assert caught.value.field == "volumes"


class TestRunPod:
    @pytest.mark.parametrize("argv", [(), ("true",)])
    def test_a_pod_mounts_one_at_its_workspace(self, argv: tuple[str, ...]) -> None:
        body = runpod_mapping.order_of(replace(request("runpod", volume("runpod")), argv=argv))
        assert body["mounts"] == {"network": [{"volumeId": "123", "path": "/workspace"}]}
        assert body["dataCenterIds"] == ["here"]

    def test_where_it_will_be_mounted(self) -> None:
        found = runpod_resources.volume_of({"id": "1"})
        assert found is not None
        assert found.mount_path == "/workspace"

    @pytest.mark.parametrize(
        ("volumes", "changes", "words"),
        [
            ([{}, {"id": "124"}], {}, "one network volume, not 2"),
            ([{"region": "there"}], {}, "is in here, the volume data in there"),
            ([{}], {"native": {**NATIVE["runpod"], "cloud": "COMMUNITY"}}, "community cloud"),
        ],
    )
    def test_what_it_cannot_have_is_refused_before_anything_is_sent(
        self, volumes: list[dict[str, Any]], changes: dict[str, Any], words: str
    ) -> None:
        order = request("runpod", *(volume("runpod", **each) for each in volumes), **changes)
        with pytest.raises(Rejected, match=words):
            runpod_mapping.check_order(order)

    def test_what_is_sold_out_everywhere_is_told_to_be_that(self) -> None:
        assert runpod_mapping.volume_obstacle([volume("runpod")], offer("runpod", region=None)) is None


class TestVastAi:
    def test_an_order_names_one_volume(self) -> None:
        body = vastai_mapping.order_of(request("vastai", volume("vastai")))
        assert body["volume_info"] == {"create_new": False, "volume_id": 123, "mount_path": "/data"}
        assert "volume_info" not in vastai_mapping.order_of(request("vastai"))

    def test_where_it_lies(self) -> None:
        found = vastai_resources.volume_of({"id": 20118481, "machine_id": 37228})
        assert found is not None
        assert (found.host, found.mount_path) == ("37228", "/data")

    @pytest.mark.parametrize(
        ("volumes", "words"),
        [
            ([{}, {"id": "124"}], "one volume, not 2"),
            ([{"host": "1"}], "not on host 1"),
            ([{"host": None}], "not on host None"),
            ([{"attached_to": ("99",)}], "while machine 99 has it"),
        ],
    )
    def test_what_it_cannot_have_is_refused_before_anything_is_sent(
        self, volumes: list[dict[str, Any]], words: str
    ) -> None:
        with pytest.raises(Rejected, match=words):
            vastai_mapping.check_order(request("vastai", *(volume("vastai", **each) for each in volumes)), 0)
