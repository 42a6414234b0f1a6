"""RunPod's JSON in our words: SSH keys, regions, volumes, charges."""

from __future__ import annotations

from typing import Any

import pytest
from client_stage import FINGERPRINT, PUBLIC_KEY
from runpod_answers import POD

from gputui.model.errors import Rejected
from gputui.providers.runpod import keys, resources, wire

NOW_MS = 1_767_603_600_000


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
        mounting = {**POD, "mounts": {"network": [{"volumeId": "2q9m7x4c", "path": "/workspace"}]}}
        rows = [mounting, {**mounting, "id": "p2"}, {**mounting, "id": "p3", "mounts": None}, {"name": "no id"}]
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
