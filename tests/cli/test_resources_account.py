"""images, regions, waitlist, webhooks, api-keys, on simulated providers over loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("simulated")

HOOK = "https://example.com/hook"


def test_images_and_regions_of_every_provider_that_has_them(cli: Any) -> None:
    images = cli("images", "list", "--json").data
    assert {image["provider"] for image in images} >= {"huddle", "lambda", "tensordock"}
    assert any(image["is_default"] for image in images)
    regions = cli("regions", "list", "--provider", "runpod", "--json").data
    assert {"provider": "runpod", "region": "US-KS-2", "name": "US KS 2", "country": "US"} in regions
    assert "us-east-1" in cli("regions", "list").out


@pytest.mark.parametrize("noun", ["waitlist", "webhooks", "api-keys"])
def test_a_provider_that_cannot_says_who_can(cli: Any, noun: str) -> None:
    said = cli(noun, "list", "--provider", "lambda", "--json")
    assert said.error["code"] == "not_supported"
    assert "These have: huddle" in said.error["error"]


def test_without_a_key_the_next_step_is_told(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUTUI_HUDDLE_API_KEY")
    said = cli("webhooks", "list", "--json")
    assert said.code == 4
    assert "gputui auth login huddle" in said.error["error"]


def test_waiting_for_what_is_sold_out(cli: Any) -> None:
    offers = cli("offers", "--refresh", "--json").data
    free = next(row for row in offers if row["provider"] == "huddle" and row["stock"] != "none")
    sold_out = next(
        row
        for row in offers
        if row["provider"] == "huddle"
        and all(same["stock"] == "none" for same in offers if same["provider"] == "huddle" and kind(same) == kind(row))
    )
    assert cli("waitlist", "join", *wanted(free), "--region", free["region"], "--json").error["code"] == "usage"
    assert cli("waitlist", "join", "--gpu", "H100", "--count", "7", "--json").code == 3
    joined = cli("waitlist", "join", *wanted(sold_out), "--json").data
    assert (joined["provider"], joined["region"]) == ("huddle", None)
    [entry] = cli("waitlist", "list", "--json").data
    assert (entry["id"], entry["auto_deploys"]) == (joined["id"], False)
    assert joined["machine_type"] in cli("waitlist", "list").out
    assert cli("waitlist", "leave", entry["id"][:8], "--json").error["code"] == "confirmation_needed"
    assert cli("waitlist", "leave", entry["id"][:8], "--yes").code == 0
    assert all(
        row["id"] != entry["id"] or row["raw_state"] == "cancelled" for row in cli("waitlist", "list", "--json").data
    )


def kind(offer: dict[str, Any]) -> tuple[str, int]:
    return offer["gpu"], offer["gpu_count"]


def wanted(offer: dict[str, Any]) -> tuple[str, ...]:
    return "--gpu", offer["gpu"], "--count", str(offer["gpu_count"])


def test_a_webhook_from_its_making_to_its_end(cli: Any, home: Path) -> None:
    made = cli("webhooks", "create", HOOK, "--event", "gpu.available", "--json").data
    assert made["secret"]
    [listed] = cli("webhooks", "list", "--json").data
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["url"], listed["events"]) == (HOOK, ["gpu.available"])
    off = cli("webhooks", "change", made["id"][:8], "--off", "--json").data
    assert (off["is_active"], off["url"], off["events"]) == (False, HOOK, ["gpu.available"])
    moved = cli("webhooks", "change", HOOK, "--url", f"{HOOK}/2", "--json").data
    assert (moved["is_active"], moved["url"]) == (False, f"{HOOK}/2")
    assert cli("webhooks", "change", made["id"]).code == 2
    assert cli("webhooks", "delete", made["id"], "--json").error["code"] == "confirmation_needed"
    assert cli("webhooks", "delete", made["id"], "--yes").code == 0
    assert cli("webhooks", "list", "--json").data == []
    assert_kept_nowhere(home, made["secret"])


def test_a_webhook_for_all_events_prints_its_secret_alone(cli: Any) -> None:
    said = cli("webhooks", "create", HOOK)
    [listed] = cli("webhooks", "list", "--json").data
    assert len(listed["events"]) == 8
    assert len(said.out.split()) == 1
    assert said.out.strip() not in said.err
    unknown = cli("webhooks", "create", HOOK, "--event", "nothing.happens", "--json")
    assert unknown.error["code"] == "usage"
    assert "gpu.available" in unknown.error["error"]


def test_an_api_key_is_told_once_works_and_can_be_revoked(
    cli: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cli("api-keys", "create", "ci")
    secret = said.out.strip()
    assert len(said.out.split()) == 1
    assert secret not in said.err
    rows = cli("api-keys", "list", "--json")
    assert secret not in rows.out
    assert {row["name"]: row["is_own"] for row in rows.data} == {"default": True, "ci": False}
    monkeypatch.setenv("GPUTUI_HUDDLE_API_KEY", secret)
    assert {row["name"]: row["is_own"] for row in cli("api-keys", "list", "--json").data} == {
        "default": False,
        "ci": True,
    }
    asked = cli("api-keys", "revoke", "ci", "--json")
    assert asked.error["code"] == "confirmation_needed"
    assert "neither see nor end your machines" in asked.error["error"]
    assert cli("api-keys", "revoke", "ci", "--yes").code == 0
    assert cli("api-keys", "list", "--json").code == 4
    assert_kept_nowhere(home, secret)


def test_a_new_api_key_as_json(cli: Any) -> None:
    made = cli("api-keys", "create", "ci", "--provider", "huddle", "--json").data
    assert made["secret"].startswith(made["prefix"])
    assert (made["name"], made["provider"], made["is_own"]) == ("ci", "huddle", False)


def assert_kept_nowhere(home: Path, secret: str) -> None:
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
