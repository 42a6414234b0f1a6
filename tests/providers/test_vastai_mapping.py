"""Vast.ai's answers in our words: offers and their prices, states and addresses of machines, orders."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from client_stage import PUBLIC_KEY
from vastai_answers import ASK, RUNNING

from gputui.model.errors import NoCapacity, Rejected
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, Offer, Stock, Tier
from gputui.providers.vastai import mapping, wire

NOW_MS = 1_764_000_000_000


def offer(**changes: Any) -> Offer | None:
    return mapping.offer_of({**ASK, **changes}, NOW_MS)


def some_offer(**changes: Any) -> Offer:
    found = offer(**changes)
    assert found is not None
    return found


def machine(**changes: Any) -> Machine:
    found = mapping.machine_of({**RUNNING, **changes})
    assert found is not None
    return found


class TestOffers:
    def test_a_whole_offer(self) -> None:
        assert offer() == Offer(
            id="vastai:21348645",
            provider="vastai",
            gpu="RTX-4090",
            gpu_count=1,
            price_micro_usd_per_hour=361_111,
            fetched_at_ms=NOW_MS,
            vram_gib=24,
            vcpus=24,
            ram_gib=63,
            disk_gib=912,
            region="CA",
            tier=Tier.COMMUNITY,
            stock=Stock.LOW,
            reliability=0.9964528,
            native={
                "ask_id": "21348645",
                "gpu_name": "RTX 4090",
                "disk_gb": 40,
                "machine_id": "37228",
                "place": "Ontario, CA",
                "verified": True,
                "ends_at_s": 1767225600,
                "inet_up": None,
                "inet_down": None,
                "inet_up_cost": None,
                "inet_down_cost": None,
            },
        )

    @pytest.mark.parametrize(
        ("changes", "price"),
        [
            ({}, 361_111),
            ({"dph_total": 0.3522222}, 361_111),  # for 8 GB: the question for 40 was not understood
            ({"dph_total": None}, 361_111),
            ({"storage_cost": None}, 361_111),
            ({"dph_base": None, "storage_cost": None}, 361_111),
            ({"dph_total": 0.36139}, 361_390),  # within rounding, the provider's own word
            ({"dph_base": "0.35", "storage_cost": "0.2", "dph_total": "0.3611111"}, 361_111),
            ({"num_gpus": 8, "dph_base": 16.4, "dph_total": 16.4111111}, 16_411_111),
        ],
    )
    def test_the_price_is_that_with_our_disk(self, changes: dict[str, Any], price: int) -> None:
        assert some_offer(**changes).price_micro_usd_per_hour == price

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": None},
            {"gpu_name": None},
            {"num_gpus": 0},
            {"num_gpus": None},
            {"dph_total": None, "dph_base": None},
            {"dph_total": 0, "dph_base": 0, "storage_cost": 0},
            {"dph_total": float("nan"), "storage_cost": None},
            {"is_bid": True},
            {"verification": "unverified"},
            {"verification": "deverified"},
            {"rentable": False},
            {"rented": True},
            {"disk_space": 39.9},
            {"duration": 86_399.0},
        ],
    )
    def test_what_cannot_be_ordered_or_was_not_asked_for_is_left_out(self, changes: dict[str, Any]) -> None:
        assert offer(**changes) is None

    def test_a_whole_answer_is_read_like_each_of_its_rows(self) -> None:
        odd = {"id": 7.5, "num_gpus": "2", "gpu_ram": "24564", "dph_total": "0.35", "is_bid": "no", "cpu_cores": 1e3}
        body = json.dumps({"offers": [ASK, odd, {"id": None}], "success": True})
        each = [wire.read(wire.WireOffer, row) for row in json.loads(body)["offers"]]
        assert wire.WireMarket.model_validate_json(body).offers == each

    @pytest.mark.parametrize("row", [None, 1, "x", [], {}])
    def test_no_row_at_all(self, row: Any) -> None:
        assert mapping.offer_of(row, NOW_MS) is None

    def test_unknown_is_none(self) -> None:
        unknown = ("machine_id", "gpu_ram", "gpu_frac", "cpu_cores", "cpu_cores_effective", "cpu_ram", "disk_space")
        gone = dict.fromkeys([*unknown, "geolocation", "reliability", "reliability2", "verification", "end_date"])
        found = some_offer(gpu_name="Voodoo 2", **gone)
        assert (found.gpu, found.vram_gib, found.vcpus, found.ram_gib, found.disk_gib) == (
            "Voodoo 2", None, None, None, None,
        )  # fmt: skip
        assert (found.region, found.reliability) == (None, None)
        assert found.native["verified"] is found.native["ends_at_s"] is found.native["place"] is None

    @pytest.mark.parametrize(
        ("geolocation", "region"),
        [("Texas, US", "US"), (", US", "US"), ("US", "US"), ("Atlantis", None), ("", None), (None, None), (7, None)],
    )
    def test_a_place_is_known_by_its_country(self, geolocation: Any, region: str | None) -> None:
        assert some_offer(geolocation=geolocation).region == region

    def test_a_datacenter_is_secure(self) -> None:
        assert some_offer(hosting_type=1).tier is Tier.SECURE
        assert some_offer(hosting_type=None).tier is Tier.COMMUNITY

    @pytest.mark.parametrize(
        ("changes", "vcpus", "ram_gib"),
        [
            ({"cpu_cores": None}, 24, 63),  # by its part of the GPUs
            ({"cpu_cores_effective": None}, 24, 63),
            ({"cpu_cores_effective": None, "cpu_cores": 90, "gpu_frac": 0.7}, 63, 88),
            ({"cpu_cores_effective": None, "cpu_cores": 216, "gpu_frac": 1 / 3}, 72, 42),
            ({"cpu_cores": None, "cpu_cores_effective": None}, None, 63),
            ({"cpu_cores_effective": 0.7, "cpu_cores": 7}, 1, 13),
            ({"cpu_cores_effective": 48.0}, 48, 126),
            ({"cpu_cores_effective": 99.0}, 99, 126),
        ],
    )
    def test_processors_and_memory_are_this_offers_share(
        self, changes: dict[str, Any], vcpus: int | None, ram_gib: int
    ) -> None:
        found = some_offer(**changes)
        assert (found.vcpus, found.ram_gib) == (vcpus, ram_gib)

    @pytest.mark.parametrize(
        ("spelling", "usable_mb", "gpu", "vram_gib"),
        [
            ("L4", 23034, "L4", 24),
            ("H100 SXM", 81559, "H100-SXM", 80),
            ("H100 NVL", 95830, "H100-NVL", 94),
            ("A100 PCIE", 40960, "A100-40GB-PCIE", 40),
            ("A100 PCIE", 81920, "A100-80GB-PCIE", 80),
            ("A100 SXM4", 81920, "A100-80GB-SXM", 80),
            ("RTX 5090", 32607, "RTX-5090", 32),
            ("RTX 6000Ada", 49140, "RTX-6000-ADA", 48),
            ("RTX PRO 6000 WS", 97887, "RTX-PRO-6000-WK", 96),
            ("Q RTX 8000", 49152, "QUADRO-RTX-8000", 48),
            ("RTX 4070S Ti", 16376, "RTX-4070-TI-SUPER", 16),
            ("Tesla T4", 15360, "T4", 16),
            ("Tesla V100", 32768, "V100-32GB", 32),
            ("GH200 SXM", 97871, "GH200", 96),
            ("RTX 3060", 8192, "RTX-3060", 8),  # sold with 12, and with 8
            ("Quantum 9", 24564, "Quantum 9", 24),
        ],
    )
    def test_spellings_and_memory(self, spelling: str, usable_mb: int, gpu: str, vram_gib: int) -> None:
        found = some_offer(gpu_name=spelling, gpu_ram=usable_mb)
        assert (found.gpu, found.vram_gib) == (gpu, vram_gib)


class TestQuestions:
    def test_a_question_is_for_on_demand_with_our_disk(self) -> None:
        body = mapping.search_body({"gpu_name": {"eq": "L4"}}, limit=64)
        assert (body["type"], body["allocated_storage"], body["limit"]) == ("on-demand", 40, 64)
        assert body["order"] == [["dph_total", "asc"]]
        assert body["gpu_name"] == {"eq": "L4"}
        assert body["verified"] == body["rentable"] == {"eq": True}
        filters = {name for name in body if name not in ("type", "allocated_storage", "limit", "order")}
        assert all(isinstance(body[name], dict) for name in filters)  # a bare value is refused or ignored


class TestStates:
    @pytest.mark.parametrize(
        ("actual", "intended", "cur", "state"),
        [
            (None, "running", "running", MachineState.PENDING),
            ("", None, None, MachineState.PENDING),
            ("created", "running", "running", MachineState.PENDING),
            ("loading", "running", "running", MachineState.PENDING),
            ("running", "running", "running", MachineState.RUNNING),
            ("Running", None, None, MachineState.RUNNING),
            ("running", "stopped", "running", MachineState.UNKNOWN),
            ("exited", "stopped", "stopped", MachineState.STOPPED),
            ("stopped", "stopped", "stopped", MachineState.STOPPED),
            ("exited", "running", "running", MachineState.STOPPED),  # just started again
            ("loading", "stopped", "stopped", MachineState.STOPPED),  # seen stuck
            (None, "stopped", "stopped", MachineState.STOPPED),  # made by a failed order
            ("frozen", "frozen", "running", MachineState.UNKNOWN),
            ("rebooting", "running", "running", MachineState.PENDING),
            ("recycling", "running", "running", MachineState.PENDING),
            ("unknown", "running", "running", MachineState.UNKNOWN),
            ("offline", "running", "running", MachineState.UNKNOWN),
            ("levitating", "running", "running", MachineState.UNKNOWN),
            ("running", "running", "unloaded", MachineState.GONE),
            (None, None, "unloaded", MachineState.GONE),
        ],
    )
    def test_states(self, actual: str | None, intended: str | None, cur: str | None, state: MachineState) -> None:
        found = machine(actual_status=actual, intended_status=intended, cur_state=cur, status_msg=None)
        assert found.state is state

    @pytest.mark.parametrize(
        "text",
        [
            "Error response from daemon: manifest for nobody/nothing:latest not found: manifest unknown\n",
            "pull access denied for private/image",
            "OCI runtime create failed: runc create failed",
        ],
    )
    @pytest.mark.parametrize("actual", [None, "created", "loading"])
    @pytest.mark.parametrize("intended", ["running", "stopped"])
    def test_what_will_never_come_up_is_an_error(self, text: str, actual: str | None, intended: str) -> None:
        found = machine(actual_status=actual, intended_status=intended, cur_state=intended, status_msg=text)
        assert found.state is MachineState.ERROR
        assert " ".join(text.split()) in found.raw_state

    def test_progress_is_no_error(self) -> None:
        found = machine(actual_status="loading", status_msg="4c7d45f7c63c: Pull complete\n")
        assert (found.state, found.raw_state) == (MachineState.PENDING, "loading")

    def test_an_old_failure_says_nothing_of_a_machine_that_runs(self) -> None:
        assert machine(status_msg="Error: once").state is MachineState.RUNNING
        stopped = machine(actual_status="exited", intended_status="stopped", status_msg="Error: once")
        assert stopped.state is MachineState.STOPPED


class TestMachines:
    def test_a_whole_machine(self) -> None:
        assert machine() == Machine(
            id="36717044",
            provider="vastai",
            state=MachineState.RUNNING,
            raw_state="running",
            label="gputui-t-01abc",
            gpu="RTX-4090",
            gpu_count=1,
            region="CA",
            price_micro_usd_per_hour=361_110,
            ip="203.0.113.20",
            ssh_port=37710,
            ssh_user="root",
            created_at_ms=1_763_700_000_123,
            billed_micro_usd_per_hour=(361_110, 361_110),
        )

    @pytest.mark.parametrize("row", [None, [], {}, {"id": None}, {"id": ""}])
    def test_what_has_no_id_is_no_machine(self, row: Any) -> None:
        assert mapping.machine_of(row) is None

    def test_a_machine_of_which_next_to_nothing_is_told(self) -> None:
        found = mapping.machine_of({"id": 1})
        assert found == Machine(id="1", provider="vastai", state=MachineState.PENDING, raw_state="", ssh_user="root")

    @pytest.mark.parametrize(
        ("status", "billed"),
        [
            ("running", (361_110, 361_110)),
            ("frozen", (361_110, 361_110)),
            ("loading", (11_110, 11_110)),
            ("exited", (11_110, 11_110)),
            (None, (11_110, 11_110)),
            ("offline", (0, 0)),
            ("rebooting", (0, 361_110)),
            ("a word of tomorrow", (0, 361_110)),
        ],
    )
    def test_each_state_has_its_rate(self, status: str | None, billed: tuple[int, int]) -> None:
        found = machine(actual_status=status)
        assert (found.price_micro_usd_per_hour, found.billed_micro_usd_per_hour) == (361_110, billed)

    def test_without_a_price_no_rate_is_told(self) -> None:
        assert machine(dph_total=None).billed_micro_usd_per_hour is None

    def test_traffic_is_counted_in_both_directions_and_bounded_by_the_line(self) -> None:
        found = machine(
            inet_up_billed=0.5, inet_up_cost=0.01, inet_down_billed=4, inet_down_cost=0.002, inet_up=80, inet_down=800
        )
        assert found.traffic_micro_usd == 5_000 + 8_000
        assert found.traffic_limit_micro_usd_per_hour == 36 * 10_000 + 360 * 2_000  # GB per hour at the price of each

    def test_traffic_nobody_counts_is_unknown_and_still_bounded(self) -> None:
        found = machine(inet_down_billed=None, inet_down=None, inet_down_cost=0.001, inet_up_cost=0)
        assert (found.traffic_micro_usd, found.traffic_limit_micro_usd_per_hour) == (None, 4_500_000)

    @pytest.mark.parametrize(
        ("changes", "endpoint"),
        [
            ({}, ("203.0.113.20", 37710)),
            ({"ports": {"22/tcp": [{"HostPort": 37710}]}}, ("203.0.113.20", 37710)),
            ({"ports": {"22/tcp": ["odd", {"HostPort": "no"}, {"HostPort": "37711"}]}}, ("203.0.113.20", 37711)),
            # not told yet
            ({"ports": {}}, ("203.0.113.20", 37708)),
            ({"ports": None, "direct_port_count": -1}, ("203.0.113.20", 37708)),
            ({"ports": {}, "machine_dir_ssh_port": -1}, ("ssh7.vast.ai", 37044)),
            # a host without ports to give
            ({"ports": {}, "direct_port_count": 1}, ("ssh7.vast.ai", 37044)),
            ({"ports": {}, "image_runtype": "ssh_proxy"}, ("ssh7.vast.ai", 37044)),
            ({"ports": {"8080/tcp": [{"HostPort": "1"}]}}, ("ssh7.vast.ai", 37044)),
            ({"ports": {"22/tcp": None}}, ("ssh7.vast.ai", 37044)),
            ({"public_ipaddr": None}, ("ssh7.vast.ai", 37044)),
            ({"public_ipaddr": " \n"}, ("ssh7.vast.ai", 37044)),
            ({"public_ipaddr": None, "image_runtype": "jupyter_proxy ssh_proxy"}, ("ssh7.vast.ai", 37045)),
            ({"public_ipaddr": None, "ssh_host": None}, (None, None)),
            ({"public_ipaddr": None, "ssh_port": None}, (None, None)),
            ({"public_ipaddr": None, "ssh_port": 70000}, (None, None)),
        ],
    )
    def test_where_ssh_answers(self, changes: dict[str, Any], endpoint: tuple[str | None, int | None]) -> None:
        found = machine(**changes)
        assert (found.ip, found.ssh_port) == endpoint


class TestOrders:
    REQUEST = CreateRequest(
        offer=some_offer(),
        label="gputui-t-01abc",
        idempotency_key="idem",
        ssh_public_key=PUBLIC_KEY,
        image="pytorch/pytorch:2.4.0",
        command="python train.py",
        env={"SECRET": "fake-secret"},
    )

    def test_an_order_is_no_bid_and_holds_neither_command_nor_environment(self) -> None:
        assert mapping.order_of(self.REQUEST) == {
            "client_id": "me",
            "image": "pytorch/pytorch:2.4.0",
            "disk": 40,
            "label": "gputui-t-01abc",
            "runtype": "ssh_direc ssh_proxy",
            "target_state": "running",
            "cancel_unavail": True,
        }

    def test_defaults_and_wishes(self) -> None:
        assert mapping.order_of(replace(self.REQUEST, image=None))["image"].startswith("vastai/base-image:")
        assert mapping.order_of(replace(self.REQUEST, disk_gib=200))["disk"] == 200

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"label": ""}, "label"),
            ({"label": "x" * 61}, "label"),
            ({"disk_gib": 0}, "disk_gib"),
            ({"offer": replace(some_offer(), native={})}, "offer"),
            ({"offer": replace(some_offer(), native={"ask_id": "../users"})}, "offer"),
        ],
    )
    def test_what_cannot_be_ordered(self, changes: dict[str, Any], field: str) -> None:
        with pytest.raises(Rejected) as caught:
            mapping.check_order(replace(self.REQUEST, **changes), NOW_MS)
        assert (caught.value.field, caught.value.may_exist) == (field, False)

    @pytest.mark.parametrize("changes", [{"disk_gib": 913}, {"max_duration_s": 3_225_601}])
    def test_what_another_offer_may_serve(self, changes: dict[str, Any]) -> None:
        with pytest.raises(NoCapacity) as caught:
            mapping.check_order(replace(self.REQUEST, **changes), NOW_MS)
        assert caught.value.may_exist is False

    @pytest.mark.parametrize("changes", [{}, {"disk_gib": 912}, {"max_duration_s": 3_225_600}, {"label": "x" * 60}])
    def test_what_can_be_ordered(self, changes: dict[str, Any]) -> None:
        mapping.check_order(replace(self.REQUEST, **changes), NOW_MS)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"gpu_name": "RTX 3090"}, "RTX 3090"),
            ({"num_gpus": 2}, "2 GPUs"),
            ({"disk_space": 8.0}, "8.0 GB"),
            ({"is_bid": True}, "bid"),
        ],
    )
    def test_a_machine_that_is_not_what_was_ordered(self, changes: dict[str, Any], words: str) -> None:
        assert words in (mapping.difference({**RUNNING, **changes}, self.REQUEST) or "")

    @pytest.mark.parametrize(
        "changes", [{}, {"disk_space": 39.6}, dict.fromkeys(["gpu_name", "num_gpus", "disk_space", "is_bid"])]
    )
    def test_a_machine_as_ordered(self, changes: dict[str, Any]) -> None:
        assert mapping.difference({**RUNNING, **changes}, self.REQUEST) is None
