"""Accounts with clients that say what a test wants them to say; the desk, the store and everything above are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from gputui.core.desk import Desk
from gputui.local.config import Config, ProviderConfig, UiConfig
from gputui.model.errors import GputuiError
from gputui.model.types import (
    Balance,
    Machine,
    Offer,
    Region,
    SshKey,
    Volume,
    WaitlistEntry,
)
from gputui.providers.base import KeyCheck
from gputui.tui.app import GputuiApp
from gputui.tui.widgets.painted import Painted

ACCOUNTS = ("huddle", "runpod", "lambda", "vastai", "mock")
EVIL = "[/]\x1b[2J[@click=app.quit]x[bold\n\u202egnp.exe\U0001f600"


@dataclass
class FakeCloud:
    """One account. With a `problem` it fails, with a `gate` it answers when that opens; `calls` holds what it was asked."""

    name: str
    offers: list[Offer] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    keys: list[SshKey] = field(default_factory=list)
    waitlist: list[WaitlistEntry] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    balance_micro_usd: int | None = None
    price_per_gib_month: int = 100_000
    problem: GputuiError | None = None
    gate: asyncio.Event | None = None
    calls: list[str] = field(default_factory=list)

    async def _answer(self, call: str, value: Any) -> Any:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return value

    async def check_key(self) -> KeyCheck:
        return await self._answer("check_key", KeyCheck(self.name, ok=True, identity="team@example.com"))

    async def fetch_offers(self) -> list[Offer]:
        return await self._answer("fetch_offers", list(self.offers))

    async def list_machines(self) -> list[Machine]:
        return await self._answer("list_machines", list(self.machines))

    async def list_volumes(self) -> list[Volume]:
        return await self._answer("list_volumes", list(self.volumes))

    async def quote_volume(self, *, size_gib: int | None, region: str, kind: str | None) -> int | None:
        return await self._answer(f"quote {size_gib} {region}", (size_gib or 0) * self.price_per_gib_month)

    async def list_ssh_keys(self) -> list[SshKey]:
        return await self._answer("list_ssh_keys", list(self.keys))

    async def add_ssh_key(self, name: str, public_key: str) -> SshKey:
        key = SshKey(f"key-{len(self.keys) + 1}", self.name, name, None, public_key)
        await self._answer(f"add_ssh_key {name}", None)
        self.keys.append(key)
        return key

    async def delete_ssh_key(self, key_id: str) -> None:
        await self._answer(f"delete_ssh_key {key_id}", None)
        self.keys[:] = [key for key in self.keys if key.id != key_id]

    async def list_waitlist(self) -> list[WaitlistEntry]:
        return await self._answer("list_waitlist", list(self.waitlist))

    async def join_waitlist(self, offer: Offer, *, anywhere: bool = False) -> WaitlistEntry:
        region = None if anywhere else offer.region
        entry = WaitlistEntry(f"wait-{len(self.waitlist) + 1}", self.name, offer.gpu, "waiting", region, False)
        await self._answer(f"join_waitlist {offer.gpu} {region}", None)
        self.waitlist.append(entry)
        return entry

    async def leave_waitlist(self, entry_id: str) -> None:
        await self._answer(f"leave_waitlist {entry_id}", None)
        self.waitlist[:] = [entry for entry in self.waitlist if entry.id != entry_id]

    async def list_regions(self) -> list[Region]:
        return await self._answer("list_regions", list(self.regions))

    async def list_os_images(self, offer: Offer | None = None) -> list[Any]:
        return await self._answer("list_os_images", [])

    async def list_webhooks(self) -> list[Any]:
        return await self._answer("list_webhooks", [])

    async def list_api_keys(self) -> list[Any]:
        return await self._answer("list_api_keys", [])

    async def fetch_charges(self, *, since_ms: int, until_ms: int) -> list[Any]:
        return await self._answer("fetch_charges", [])

    async def fetch_balance(self) -> Balance:
        return await self._answer("fetch_balance", Balance(self.name, self.balance_micro_usd, 0))

    async def aclose(self) -> None:
        return


@dataclass
class Stage:
    """A desk with fake clouds, and the application on it."""

    desk: Desk
    clouds: dict[str, FakeCloud]

    def app(self, **more: Any) -> GputuiApp:
        return GputuiApp(self.desk, **more)


StageMaker = Callable[..., Stage]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder of the test's own, with the profile in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_stage(make_desk: Any, kit: SimpleNamespace) -> StageMaker:
    """Return a function that sets the stage; `accounts` have keys and are played by fake clouds, `more_accounts` have none."""

    def make(
        accounts: Sequence[str] = ACCOUNTS,
        *,
        more_accounts: Sequence[str] = (),
        theme: str = "gputui-dark",
        ascii: bool = False,
        market: bool = True,
        **more: Any,
    ) -> Stage:
        on = {name: ProviderConfig() for name in (*accounts, *more_accounts)}
        off = {"mock": ProviderConfig(enabled=False)} if "mock" not in accounts else {}
        if "huddle" not in accounts:
            off["huddle"] = ProviderConfig(enabled=False)
        config = Config(ui=UiConfig(theme=theme, ascii=ascii), providers={**off, **on})
        desk = make_desk(keys=[name for name in accounts if name != "mock"], config=config, **more)
        clouds = {name: FakeCloud(name) for name in accounts}
        if market:
            kit.fill_market(desk)
            for name, cloud in clouds.items():
                cloud.offers = desk.offers(provider=name)
        desk.accounts._clients.update(clouds)
        return Stage(desk, clouds)

    return make


async def settle(pilot: Pilot[Any]) -> None:
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


def pressing(*keys: str) -> Any:
    async def run(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        await press(pilot, *keys)

    return run


async def until(pilot: Pilot[Any], condition: Callable[[], bool], *, deadline_s: float = 60.0) -> None:
    """Let the application work until something is so."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await pilot.pause(0.01)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def line_of(pilot: Pilot[Any], key: str, selector: str = "#list") -> str:
    """Return what a list shows in the row of a key."""
    rows = pilot.app.screen.query_one(selector)
    return "\n".join(line.plain for line in rows._painter(key, rows.size.width, False))


def toasts(pilot: Pilot[Any]) -> list[str]:
    return [str(toast.message) for toast in pilot.app._notifications]


def buttons(pilot: Pilot[Any]) -> list[str]:
    return [str(button.label) for button in pilot.app.screen.query(Button)]


@pytest.fixture
def play() -> SimpleNamespace:
    """Return the functions above: test files cannot import from here."""
    return SimpleNamespace(
        SIZE=(120, 36),
        SMALL=(80, 24),
        EVIL=EVIL,
        settle=settle,
        press=press,
        pressing=pressing,
        until=until,
        text_of=text_of,
        line_of=line_of,
        toasts=toasts,
        buttons=buttons,
    )
