"""What works with a key: each provider's read-only questions, asked of the simulators in virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gputui.core.accounts import Accounts, HandedKeys
from gputui.core.probes import NEEDED, Outcome, Probe, probe, probe_all, worst_obstacle
from gputui.local.config import Config
from gputui.model.errors import AuthError, Unreachable
from gputui.providers.mock.client import MockClient
from gputui.providers.pacing import pause_left_s
from gputui.sim.serve import PROVIDER_APPS, asgi_transport
from gputui.sim.vtime import START_MS, VirtualClock, run_virtual
from gputui.sim.world import World

REMOTE = list(PROVIDER_APPS)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


@dataclass
class Stage:
    """A world with every provider in it."""

    world: World
    folder: Path
    transports: Mapping[str, Any]

    async def ask(
        self, provider: str, *, keys: Mapping[str, str] | None = None, kept_ms: int | None = None
    ) -> dict[str, Probe]:
        """Return the rows of a provider by name."""
        accounts = self.accounts(keys)
        try:
            rows = await probe(accounts, VirtualClock(), provider, state_dir=self.folder, kept_offers_at_ms=kept_ms)
        finally:
            await accounts.aclose()
        assert {row.provider for row in rows} == {provider}
        by_name = {row.name: row for row in rows}
        assert len(by_name) == len(rows)
        return by_name

    def accounts(self, keys: Mapping[str, str] | None = None) -> Accounts:
        """Return accounts with a key each, unless `keys` tells which."""
        return Accounts(
            config=Config(),
            keys=HandedKeys(dict.fromkeys(REMOTE, "sim-probe") if keys is None else keys),
            clock=VirtualClock(),
            state_dir=self.folder,
            environ={},
            urls={name: f"https://{name}.test/{name}{sim.api_path}" for name, sim in PROVIDER_APPS.items()},
            transports=self.transports,
        )

    async def narrow_key(self, *permissions: str) -> str:
        """Return a new key of the Vast.ai account with these permissions."""
        headers = {"Authorization": "Bearer sim-probe"}
        async with httpx.AsyncClient(transport=self.transports["vastai"], headers=headers) as http:
            body = {"name": "narrow", "permissions": {"api": {name: {} for name in permissions}}}
            made = await http.post("https://vastai.test/vastai/api/v0/auth/apikeys/", json=body)
        return str(made.json()["key"])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    world = World(VirtualClock(), seed=3)
    apps = {name: asgi_transport(sim.build(world, f"/{name}")) for name, sim in PROVIDER_APPS.items()}
    world.faults.set(offers=100)
    return Stage(world, tmp_path, apps)


@pytest.mark.parametrize("provider", [*REMOTE, "mock"])
@virtual
async def test_everything_works_with_a_good_key(provider: str, stage: Stage) -> None:
    rows = await stage.ask(provider, kept_ms=START_MS - 180_000)
    assert {row.outcome for row in rows.values()} <= {Outcome.OK, Outcome.NOT_OFFERED}
    assert rows.keys() >= NEEDED
    assert rows["machines"].detail == "0 alive"
    assert "available; those kept here are" in rows["offers"].detail
    assert int(rows["offers"].detail.split(",")[0]) > 8
    assert worst_obstacle(rows.values()) is None
    if provider != "mock":
        assert "handed over" in rows["key"].detail
        assert "answers" in rows["latency"].detail


@virtual
async def test_what_a_provider_lacks_is_told_and_not_asked(stage: Stage) -> None:
    rows = await stage.ask("lambda")
    assert rows["balance"].outcome is Outcome.NOT_OFFERED
    assert rows["balance"].took_ms is None


@pytest.mark.parametrize("provider", REMOTE)
@virtual
async def test_a_dead_key_ends_the_questions(provider: str, stage: Stage) -> None:
    rows = await stage.ask(provider, keys={provider: "fake-dead-key-0123"})
    assert rows["key"].outcome is Outcome.REFUSED
    assert f"gputui auth login {provider}" in (rows["key"].hint or "")
    assert rows["machines"].outcome is Outcome.NOT_ASKED
    assert isinstance(worst_obstacle(rows.values()), AuthError)
    assert "fake-dead-key-0123" not in str(rows)


@virtual
async def test_no_key_at_all(stage: Stage) -> None:
    rows = await stage.ask("runpod", keys={})
    assert list(rows) == ["key"]
    assert "gputui auth login runpod" in (rows["key"].hint or "")
    assert isinstance(worst_obstacle(rows.values()), AuthError)


@pytest.mark.parametrize("status", ["401", "403"])
@virtual
async def test_a_narrow_key_of_vast_names_the_permissions_it_lacks(status: str, stage: Stage) -> None:
    stage.world.faults.set(forbidden_status=status)
    key = await stage.narrow_key("misc", "instance_read")
    rows = await stage.ask("vastai", keys={"vastai": key})
    assert rows["key"].outcome is Outcome.OK
    assert rows["machines"].outcome is Outcome.OK
    for name, group in (("balance", "user_read"), ("ssh-keys", "user_read"), ("charges", "billing_read")):
        assert rows[name].outcome is Outcome.REFUSED
        assert f"permission {group}" in (rows[name].hint or "")
    assert worst_obstacle(rows.values()) is None


@virtual
async def test_a_key_without_what_a_job_needs_is_an_obstacle(stage: Stage) -> None:
    key = await stage.narrow_key("misc", "user_read")
    rows = await stage.ask("vastai", keys={"vastai": key})
    assert rows["offers"].outcome is Outcome.OK
    assert "instance_read" in (rows["machines"].hint or "")
    assert isinstance(worst_obstacle(rows.values()), AuthError)


@virtual
async def test_a_provider_that_is_down_is_told_once_and_at_once(stage: Stage) -> None:
    stage.world.faults.set(connect_error=1.0)
    started_ms = VirtualClock().now_ms()
    rows = await stage.ask("runpod")
    assert VirtualClock().now_ms() - started_ms < 5_000
    assert rows["key"].outcome is Outcome.FAILED
    assert {row.outcome for name, row in rows.items() if name in ("offers", "machines", "balance")} == {
        Outcome.NOT_ASKED
    }
    assert isinstance(worst_obstacle(rows.values()), Unreachable)


@virtual
async def test_a_question_without_an_answer_ends_at_its_deadline(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(self: MockClient) -> None:
        await asyncio.sleep(10_000)

    async def trip(self: MockClient) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(MockClient, "fetch_balance", hang)
    monkeypatch.setattr(MockClient, "list_regions", trip)
    rows = await stage.ask("mock")
    assert "within 20 s" in rows["balance"].detail
    assert rows["balance"].took_ms == 20_000
    assert "KeyError" in rows["regions"].detail
    assert rows["machines"].outcome is Outcome.OK
    assert worst_obstacle(rows.values()) is None


@virtual
async def test_a_pause_that_a_provider_asked_for_is_shown(stage: Stage) -> None:
    stage.world.faults.set(rate_limited={"operation": "list_regions"})
    rows = await stage.ask("lambda")
    assert rows["regions"].error is not None
    assert rows["requests"].outcome is Outcome.WARNING
    assert "asks us to wait" in rows["requests"].detail
    left_s = pause_left_s(stage.folder, "lambda", VirtualClock().now_ms())
    assert left_s is not None
    assert left_s > 0
    assert pause_left_s(stage.folder, "huddle", START_MS) is None


@virtual
async def test_several_providers_come_in_the_order_asked(stage: Stage) -> None:
    accounts, wanted = stage.accounts(), ["mock", "huddle", "lambda"]
    rows = await probe_all(accounts, VirtualClock(), wanted, state_dir=stage.folder, kept_offers_at_ms={})
    await accounts.aclose()
    assert list(dict.fromkeys(row.provider for row in rows)) == wanted
