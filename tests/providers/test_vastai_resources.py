"""Vast.ai's answers in our words: SSH keys, balances and charges, volumes."""

from __future__ import annotations

from typing import Any

import pytest
from client_stage import FINGERPRINT, PUBLIC_KEY

from gputui.model.errors import NoCapacity, Rejected
from gputui.providers.vastai import resources, wire


class TestKeys:
    def test_a_key_is_named_by_its_comment(self) -> None:
        key = resources.ssh_key_of({"id": 5512, "key": PUBLIC_KEY, "deleted_at": None})
        assert key is not None
        assert (key.id, key.name, key.fingerprint, key.public_key) == ("5512", "fake-key", FINGERPRINT, PUBLIC_KEY)

    def test_both_names_of_the_text(self) -> None:
        key = resources.ssh_key_of({"id": 1, "public_key": " ".join(PUBLIC_KEY.split()[:2])})
        assert key is not None
        assert (key.name, key.fingerprint) == ("", FINGERPRINT)

    @pytest.mark.parametrize("row", [None, {}, {"id": 1, "key": PUBLIC_KEY, "deleted_at": "2026-09-01T12:00:00"}])
    def test_no_key(self, row: Any) -> None:
        assert resources.ssh_key_of(row) is None

    def test_a_name_becomes_the_comment(self) -> None:
        assert resources.named_key("my laptop", PUBLIC_KEY) == PUBLIC_KEY.replace("fake-key", "my laptop")
        with pytest.raises(Rejected):
            resources.named_key("two\nlines", PUBLIC_KEY)

    @pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 !!!", f"{PUBLIC_KEY}\n{PUBLIC_KEY}"])
    def test_no_public_key(self, text: str) -> None:
        with pytest.raises(Rejected) as caught:
            resources.fingerprint_of(text)
        assert caught.value.field == "ssh_public_key"


class TestMoney:
    @pytest.mark.parametrize(
        ("balance", "credit", "expected"),
        [
            (0.0, 25.13, 25_130_000),
            (1.5, 0.25, 1_750_000),
            (None, 25.13, 25_130_000),
            (-0.5, None, -500_000),
            (None, None, None),
        ],
    )
    def test_both_purses_count(self, balance: float | None, credit: float | None, expected: int | None) -> None:
        account = wire.read(wire.WireAccount, {"id": 1, "balance": balance, "credit": credit})
        assert account is not None
        assert resources.balance_of(account) == expected

    CONTRACT: dict[str, Any] = {  # noqa: RUF012
        "start": 1730419200,
        "end": 1730678400,
        "type": "instance",
        "source": "instance-36717044",
        "description": "Instance 36717044 Charges - 4 days",
        "amount": 38.421,
        "items": [
            {"start": 1730419200, "end": 1730678400, "type": "gpu", "description": "96 hours", "amount": 37.344},
            {"start": 1730419200, "end": 1730678400, "type": "disk", "description": "", "amount": 1.056},
            {"type": "bwd", "description": "10.500 GB at $0.002/GB", "amount": 0.021},
        ],
    }
    SINCE, UNTIL = 1_730_400_000_000, 1_730_700_000_000

    def charges(self, **changes: Any) -> list[tuple[int, str, str | None]]:
        found = resources.charges_of({**self.CONTRACT, **changes}, since_ms=self.SINCE, until_ms=self.UNTIL)
        return [(charge.amount_micro_usd, charge.what, charge.machine_id) for charge in found]

    def test_a_contract_is_told_by_its_parts(self) -> None:
        assert self.charges() == [
            (37_344_000, "GPU: 96 hours", "36717044"),
            (1_056_000, "disk", "36717044"),
            (21_000, "download: 10.500 GB at $0.002/GB", "36717044"),
        ]
        (gpu, *_) = resources.charges_of(self.CONTRACT, since_ms=self.SINCE, until_ms=self.UNTIL)
        assert (gpu.from_ms, gpu.to_ms) == (1_730_419_200_000, 1_730_678_400_000)

    @pytest.mark.parametrize("items", [[], None, [{"type": "gpu", "amount": 37.344}], ["odd"]])
    def test_or_as_a_whole_where_they_do_not_make_it_up(self, items: Any) -> None:
        assert self.charges(items=items) == [(38_421_000, "Instance 36717044 Charges - 4 days", "36717044")]

    def test_a_volume_is_no_machine(self) -> None:
        volume = self.charges(type="volume", source="volume-7", items=[], description="Volume 7 Charges")
        assert volume == [(38_421_000, "volume 7: Volume 7 Charges", None)]

    def test_what_lies_outside_is_left_out(self) -> None:
        assert resources.charges_of(self.CONTRACT, since_ms=self.UNTIL, until_ms=self.UNTIL + 1) == []
        assert resources.charges_of(self.CONTRACT, since_ms=0, until_ms=self.SINCE) == []

    @pytest.mark.parametrize("changes", [{"amount": None}, {"start": None, "items": []}, {"amount": "much"}])
    def test_a_bill_with_a_hole_is_none(self, changes: dict[str, Any]) -> None:
        with pytest.raises(wire.Unreadable):
            self.charges(**changes)


class TestVolumes:
    VOLUME: dict[str, Any] = {  # noqa: RUF012
        "id": 20118481,
        "label": "data_1",
        "status": "created",
        "disk_space": 100.0,
        "storage_total_cost": 0.0148,
        "instances": [],
        "geolocation": "Ontario, CA",
        "start_date": 1759100000.0,
    }
    ROOM: dict[str, Any] = {"id": 9, "disk_space": 1491.0, "storage_cost": 0.1066, "geolocation": "Ontario, CA"}  # noqa: RUF012

    def test_a_whole_volume(self) -> None:
        volume = resources.volume_of(self.VOLUME)
        assert volume is not None
        assert (volume.id, volume.name, volume.raw_state, volume.size_gib) == ("20118481", "data_1", "created", 100)
        assert (volume.region, volume.kind, volume.attached_to) == ("CA", "local", ())
        assert volume.price_micro_usd_per_month == 10_656_000
        assert volume.created_at_ms == 1_759_100_000_000

    @pytest.mark.parametrize("instances", [[36717044], ["36717044"], [{"id": 36717044}]])
    def test_what_mounts_it(self, instances: list[Any]) -> None:
        volume = resources.volume_of({**self.VOLUME, "instances": instances})
        assert volume is not None
        assert volume.attached_to == ("36717044",)

    @pytest.mark.parametrize(
        ("name", "size_gib", "kind", "field"),
        [
            ("", None, None, "name"),
            ("data-1", None, None, "name"),
            ("x" * 65, None, None, "name"),
            ("ok", 0, None, "size_gib"),
            ("ok", None, "network", "kind"),
        ],
    )
    def test_what_cannot_be_made(self, name: str, size_gib: int | None, kind: str | None, field: str) -> None:
        with pytest.raises(Rejected) as caught:
            resources.check_volume(name, size_gib=size_gib, kind=kind)
        assert caught.value.field == field

    def test_the_cheapest_room_that_fits(self) -> None:
        rows = [
            {**self.ROOM, "id": 1, "disk_space": 10, "storage_cost": 0.01},
            {**self.ROOM, "id": 2, "geolocation": "Texas, US", "storage_cost": 0.02},
            {**self.ROOM, "id": 3, "storage_cost": 0.2},
            {**self.ROOM, "id": 4},
            {**self.ROOM, "id": 5, "storage_cost": None},
            "odd",
        ]
        assert resources.cheapest_room(rows, "ca", 100).id == "4"
        assert resources.cheapest_room(rows, "37228", 100).id == "2"
        with pytest.raises(NoCapacity):
            resources.cheapest_room(rows, "DE", 100)

    def test_a_question_names_a_country_or_a_host(self) -> None:
        assert resources.volume_search("ca", 15)["geolocation"] == {"eq": "CA"}
        by_host = resources.volume_search("37228", 15)
        assert by_host["machine_id"] == {"eq": 37228}
        assert "geolocation" not in by_host

    @pytest.mark.parametrize("body", [{}, [], {"volume_name": "data"}, {"volume_name": None}])
    def test_a_volume_without_a_number_was_not_understood(self, body: Any) -> None:
        room = wire.read(wire.WireVolumeOffer, self.ROOM)
        assert room is not None
        with pytest.raises(wire.Unreadable):
            resources.made_volume(body, "data", 15, room)
