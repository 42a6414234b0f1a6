"""volumes: list, create, delete, on simulated providers over loopback with a real agent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gputui.core.desk import Desk
from gputui.model.volumes import VolumeOrderState
from gputui.providers.base import HasVolumes
from gputui.providers.registry import provider_title

pytestmark = pytest.mark.usefixtures("simulated")

RUNPOD = ("--provider", "runpod", "--region", "EU-CZ-1", "--size", "50")


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody carries out what is wished for."""
    monkeypatch.setattr(Desk, "ensure_agent", lambda self: None)


@pytest.mark.parametrize(
    ("provider", "options", "price"),
    [
        ("runpod", ("--region", "EU-CZ-1", "--size", "50"), "3.50"),
        ("lambda", ("--region", "us-east-1"), None),
    ],
)
def test_a_volume_from_its_making_to_the_proof_that_it_is_gone(
    cli: Any, provider: str, options: tuple[str, ...], price: str | None
) -> None:
    made = cli("volumes", "create", "data", "--provider", provider, *options, "--yes", "--json")
    assert (made.data["state"], made.data["price_per_month_usd"]) == ("made", price)
    [listed] = cli("volumes", "list", "--json").data
    assert (listed["id"], listed["name"], listed["provider"]) == (made.data["volume_id"], "data", provider)
    assert (listed["is_ours"], listed["price_per_month_usd"]) == (True, price)
    shown = cli("volumes", "list", "--provider", provider)
    assert "data" in shown.out
    assert (price or "–") in shown.out
    gone = cli("volumes", "delete", "data", "--yes")
    assert (gone.code, gone.out) == (0, f"data is gone: {provider_title(provider)} no longer lists it.\n")
    assert cli("volumes", "list", "--json").data == []
    again = cli("volumes", "delete", "data", "--yes", "--json")
    assert (again.code, again.error["code"]) == (3, "not_found")


def test_making_one_states_its_price_and_needs_a_yes(cli: Any, desk: Desk) -> None:
    said = cli("volumes", "create", "data", *RUNPOD, "--json")
    assert (said.code, said.error["code"]) == (2, "confirmation_needed")
    assert "3.50 $ a month" in said.error["error"]
    unknown = cli("volumes", "create", "data", "--provider", "lambda", "--region", "us-east-1", "--json")
    assert "does not tell" in unknown.error["error"]
    assert desk.volume_orders() == []


def test_one_that_turned_out_dearer_than_shown_is_told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def a_dollar(self: Desk, *_: object, **__: object) -> int:
        return 1_000_000

    monkeypatch.setattr(Desk, "volume_quote", a_dollar)
    made = cli("volumes", "create", "data", *RUNPOD, "--yes")
    assert made.code == 0
    assert "It costs 3.50 $ a month; 1.00 $ were shown. To end that, run: gputui volumes delete data" in made.err


def test_one_that_cannot_be_is_refused_before_anybody_is_asked(cli: Any, desk: Desk) -> None:
    small = cli("volumes", "create", "data", *RUNPOD[:-1], "5", "--yes", "--json")
    assert (small.code, small.error["code"]) == (1, "rejected")
    kinds = cli("volumes", "create", "data", "--provider", "runpod", "--region", "US-KS-2", "--size", "50", "--yes")
    assert "standard, high-performance" in kinds.err
    none = cli("volumes", "create", "data", "--provider", "tensordock", "--region", "x", "--yes", "--json")
    assert none.error["code"] == "not_supported"
    assert "These have: huddle, runpod, lambda" in none.error["error"]
    assert cli("volumes", "create", "data", "--provider", "nobody", "--region", "x", "--yes").code == 3
    assert desk.volume_orders() == []


def test_a_refusal_is_told_with_its_reason(cli: Any) -> None:
    assert cli("volumes", "create", "data", "--provider", "lambda", "--region", "us-east-1", "--yes").code == 0
    refused = cli("volumes", "create", "data", "--provider", "lambda", "--region", "us-east-1", "--yes", "--json")
    assert (refused.code, refused.error["code"]) == (1, "rejected")
    assert "called data" in refused.error["error"]
    assert len(cli("volumes", "list", "--json").data) == 1


@pytest.mark.usefixtures("no_agent")
def test_not_waiting_only_writes_the_wish(cli: Any, desk: Desk) -> None:
    made = cli("volumes", "create", "data", *RUNPOD, "--yes", "--no-wait", "--json").data
    assert (made["state"], made["is_over"], made["volume_id"]) == ("intended", False, None)
    assert desk.volume_order(made["order_id"]).state is VolumeOrderState.INTENDED
    assert "data is being made at RunPod" in cli("volumes", "list").err


@pytest.mark.usefixtures("no_agent")
def test_waiting_has_a_deadline(cli: Any, desk: Desk) -> None:
    said = cli("volumes", "create", "data", *RUNPOD, "--yes", "--deadline", "1s", "--json")
    assert said.code == 1
    assert "may exist and cost money" in said.error["error"]
    assert not desk.volume_orders()[0].is_over


def test_deleting_states_the_loss_and_needs_a_yes(cli: Any, desk: Desk) -> None:
    cli("volumes", "create", "data", *RUNPOD, "--yes")
    said = cli("volumes", "delete", "data", "--json")
    assert (said.code, said.error["code"]) == (2, "confirmation_needed")
    assert "lose all data on it for good" in said.error["error"]
    assert len(desk.volume_orders()) == 1


async def make_elsewhere(desk: Desk, *names: str) -> None:
    client = desk.client("runpod")
    assert isinstance(client, HasVolumes)
    for name in names:
        await client.create_volume(name, size_gib=10, region="EU-CZ-1", kind=None)
    await desk.aclose()


def test_a_volume_made_elsewhere_is_guarded(cli: Any, desk: Desk) -> None:
    asyncio.run(make_elsewhere(desk, "theirs", "twice", "twice"))
    said = cli("volumes", "delete", "theirs", "--yes", "--json")
    assert (said.code, said.error["code"]) == (6, "guard_refused")
    several = cli("volumes", "delete", "twice", "--yes", "--foreign", "--json")
    assert (several.code, several.error["code"]) == (2, "usage")
    assert desk.volume_orders() == []
    assert cli("volumes", "delete", "theirs", "--yes", "--foreign").code == 0
    assert {row["name"] for row in cli("volumes", "list", "--json").data} == {"twice"}


def test_a_provider_that_fails_makes_the_list_incomplete(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("volumes", "create", "data", *RUNPOD, "--yes")
    monkeypatch.setenv("GPUTUI_LAMBDA_API_KEY", "fake-wrong-key")
    said = cli("volumes", "list", "--json")
    assert (said.code, [row["name"] for row in said.data]) == (4, ["data"])
    assert "lambda" in said.err
    assert "fake-wrong-key" not in said.err
    missing = cli("volumes", "delete", "nope", "--yes", "--json")
    assert (missing.code, missing.error["code"]) == (3, "not_found")
    assert "not: lambda" in missing.error["error"]
