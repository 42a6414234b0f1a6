"""Lambda's JSON in our words: SSH keys, regions, images, file systems."""

from __future__ import annotations

from typing import Any

import pytest
from client_stage import FINGERPRINT, PUBLIC_KEY
from lambda_answers import OSAKA, TEXAS, entry

from gputui.model.errors import Rejected
from gputui.model.types import SshKey
from gputui.providers.lambda_ import mapping, resources

NOW_MS = 1_767_603_600_000


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
