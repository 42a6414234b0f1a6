"""The offers screen: keys pressed by intent, and what came of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from gputui.core.desk import Desk
from gputui.model.types import Stock
from gputui.store import offers as offer_store
from gputui.tui.app import GputuiApp
from gputui.tui.screens.deploy import DeployScreen
from gputui.tui.screens.matrix import MatrixScreen
from gputui.tui.screens.offers import OffersScreen
from gputui.tui.screens.pick import PickScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.frame import FrameHeader
from gputui.tui.widgets.offer_table import OfferTable
from gputui.tui.widgets.painted import Painted

SIZE = (120, 36)
_NAMES = {" ": "space", "$": "dollar_sign", "<": "less_than_sign", ">": "greater_than_sign", "=": "equals_sign",
          ":": "colon", "!": "exclamation_mark", ".": "full_stop", "-": "minus", ",": "comma"}  # fmt: skip


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


async def write_filter(pilot: Pilot[Any], text: str) -> None:
    await press(pilot, "slash", *(_NAMES.get(character, character) for character in text))


def table_of(pilot: Pilot[Any]) -> OfferTable:
    return pilot.app.screen.query_one(OfferTable)


def text_of(pilot: Pilot[Any], selector: str) -> str:
    return pilot.app.screen.query_one(selector, Painted).render().plain


def lines_of(pilot: Pilot[Any]) -> list[str]:
    table = table_of(pilot)
    return [table.render_line(y).text.rstrip() for y in range(table.size.height)]


def many(kit: SimpleNamespace, count: int, *, first: int = 0) -> list[Any]:
    return [
        replace(kit.offer("huddle", "L40S", 0.5 + number / 100, region=f"R-{number:03d}"), id=f"huddle:{number:03d}")
        for number in range(first, first + count)
    ]


async def keep(pilot: Pilot[Any], kit: SimpleNamespace, offers: list[Any], *, at_ms: int) -> None:
    app = pilot.app
    assert isinstance(app, GputuiApp)
    offer_store.replace_snapshot(app.desk.store, "huddle", offers, now_ms=at_ms, latency_ms=1)
    app.look()
    await settle(pilot)


async def test_keys_that_follow_at_once_are_not_typed_into_the_filter(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        for key in ("2", "d"):
            app.post_message(events.Key(key, key))
        await settle(pilot)
        assert app.current_mode == "offers"
        assert app.screen.query_one("#filter", Input).value == ""
        assert app.screen.query_one("#details").display


async def test_every_offer_is_listed_by_effective_price(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        assert isinstance(app.screen, OffersScreen)
        table = table_of(pilot)
        assert table.has_focus
        assert len(table.keys) == 14
        assert table.keys[0] == "mock:T4:1:eu-north"
        assert "14 offers" in text_of(pilot, "#rule")
        line = next(line for line in lines_of(pilot) if "H100-PCIE" in line)
        assert line.split() == [
            "Mock",
            "H100-PCIE",
            "1",
            "80",
            "24",
            "180",
            "on-demand",
            "eu-north",
            "1.99",
            "1.99",
            "◐",
            "low",
            "now",
        ]


async def test_enter_on_a_cell_shows_its_offers_and_escape_goes_back(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down", "enter")
        assert app.screen.query_one("#filter", Input).value == "gpu=H100-SXM provider=huddle"
        assert len(table_of(pilot).keys) == 3
        assert "gputui › Matrix › Offers" in app.screen.query_one(FrameHeader).render().plain
        await press(pilot, "escape")
        assert isinstance(app.screen, MatrixScreen)


async def test_each_keystroke_narrows_and_a_mistake_keeps_the_rows(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        await write_filter(pilot, "gpu:h100 $<2.4 !stock:none")
        assert {key.split(":")[1] for key in table_of(pilot).keys} == {"H100-SXM", "H100-PCIE"}
        assert len(table_of(pilot).keys) == 3
        await press(pilot, *(_NAMES.get(character, character) for character in " vram>=8x"))
        assert len(table_of(pilot).keys) == 3
        rule = text_of(pilot, "#rule")
        assert "^^ '8x' is not a number" in rule
        assert rule.index("^") == 2 + "gpu:h100 $<2.4 !stock:none vram>=8x".index("8x")
        await press(pilot, "backspace")
        assert "3 of 14 offers" in text_of(pilot, "#rule")
        await press(pilot, "enter")
        assert table_of(pilot).has_focus
        await press(pilot, "escape")
        assert len(table_of(pilot).keys) == 14
        assert isinstance(app.screen, OffersScreen)


async def test_nothing_jumps_when_offers_come_and_go(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk()
    app = GputuiApp(desk)
    async with app.run_test(size=(120, 20), notifications=True) as pilot:
        await keep(pilot, kit, many(kit, 60, first=40), at_ms=kit.NOW_MS - 9_000)
        await press(pilot, "2", *["down"] * 25, "space", "up", "up", "up")
        table = table_of(pilot)
        key, line = table.key, next(y for y, text in enumerate(lines_of(pilot)) if text.startswith("▌"))
        await keep(pilot, kit, many(kit, 100), at_ms=kit.NOW_MS - 5_000)
        assert table.key == key
        assert next(y for y, text in enumerate(lines_of(pilot)) if text.startswith("▌")) == line
        assert "1 marked" in text_of(pilot, "#rule")
        await keep(pilot, kit, many(kit, 60, first=40), at_ms=kit.NOW_MS - 1_000)
        assert table.key == key
        assert next(y for y, text in enumerate(lines_of(pilot)) if text.startswith("▌")) == line


async def test_n_fills_the_form_with_the_row(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        await write_filter(pilot, "region:fin-03 gpu:h100")
        await press(pilot, "enter", "n")
        assert isinstance(app.screen, DeployScreen)
        values = app.screen.query_one(DeployForm).values
        expected = ("H100-SXM", "1", "huddle", "FIN-03")
        assert tuple(values[name] for name in ("gpu", "gpu_count", "provider", "region")) == expected
        assert "Offers › Deploy" in app.screen.query_one(FrameHeader).render().plain
        await press(pilot, "escape")
        assert isinstance(app.screen, OffersScreen)
        assert len(table_of(pilot).keys) == 1


async def test_the_order_is_picked_turned_round_and_shown(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2", "o", "down", "down", "enter")
        keys = table_of(pilot).keys
        assert keys[0].split(":")[1] == "B200"
        assert keys[-1].split(":")[1] == "T4"
        assert "by GPU ↑" in text_of(pilot, "#rule")
        await press(pilot, "O")
        assert table_of(pilot).keys[0].split(":")[1] == "T4"
        await press(pilot, "o", "escape")
        assert "by GPU ↓" in text_of(pilot, "#rule")


async def test_prices_per_gpu_and_for_longer_work(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        await write_filter(pilot, "n:8")
        await press(pilot, "enter")
        assert "18.32" in lines_of(pilot)[1]
        short = lines_of(pilot)[1].split()[-4]
        await press(pilot, "dollar_sign")
        assert "2.29" in lines_of(pilot)[1]
        assert "per GPU" in text_of(pilot, "#rule")
        await press(pilot, "dollar_sign", "e", "G", "enter")
        assert "for 7 d of work" in text_of(pilot, "#rule")
        assert float(lines_of(pilot)[1].split()[-4]) < float(short)


async def test_marks_stay_and_narrow_to_what_is_compared(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2", "space", "down", "space", "c")
        table = table_of(pilot)
        assert len(table.keys) == 2
        assert "2 marked, the only ones shown" in text_of(pilot, "#rule")
        await press(pilot, "c")
        assert len(table.keys) == 14
        await press(pilot, "escape")
        assert "marked" not in text_of(pilot, "#rule")
        assert isinstance(app.screen, OffersScreen)


async def test_details_tell_everything_and_what_the_router_thinks(app: GputuiApp) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        await write_filter(pilot, "gpu:h100-sxm")
        await press(pilot, "enter", "d")
        text = text_of(pilot, "#detail")
        for part in ("1 × H100-SXM at Huddle", "$2.29/h", "10 min at least", "Huddle docs, gpu-billing", "would take it first",
                     "180 GiB", "FIN-01", "not told", "fetched 12 s ago, your key", "huddle:H100-SXM:1:FIN-01"):  # fmt: skip
            assert part in text, part
        await press(pilot, "G")
        assert "would not take it: no capacity" in text_of(pilot, "#detail")
        await press(pilot, "d")
        assert not app.screen.query_one("#details").display


async def test_narrow_keeps_what_matters_and_wide_shows_the_rest(app: GputuiApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await press(pilot, "2")
        assert lines_of(pilot)[0].split() == ["provider", "GPU", "n", "VRAM", "region", "list", "eff", "↑", "stock"]
        await press(pilot, "w")
        assert "more ‹ ›" in lines_of(pilot)[0]
        seen: set[str] = set()
        for _ in range(14):
            seen |= set(lines_of(pilot)[0].split())
            assert lines_of(pilot)[0].split()[:2] == ["provider", "GPU"]
            await press(pilot, "l")
        assert {"vCPU", "RAM", "disk", "tier", "reliab", "age", "stock", "list"} <= seen
        await press(pilot, "w")
        assert "disk" not in lines_of(pilot)[0]


async def test_filters_are_saved_chosen_and_removed(app: GputuiApp, desk: Desk) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2", "B")
        assert isinstance(app.screen, OffersScreen)
        await write_filter(pilot, "gpu:h100")
        await press(pilot, "enter", "b", "escape")
        await write_filter(pilot, "vram:80 n:8")
        await press(pilot, "enter", "b", "escape", "B", "down", "enter")
        assert app.screen.query_one("#filter", Input).value == "gpu:h100"
        assert len(table_of(pilot).keys) == 5
        await press(pilot, "B", "ctrl+d", "escape", "B")
        assert isinstance(app.screen, PickScreen)
        await press(pilot, "ctrl+d")
        assert isinstance(app.screen, OffersScreen)
    assert '"filters": []' in desk.paths.ui_state_file.read_text()


async def test_stale_and_sold_out_rows_are_dim(app: GputuiApp, kit: SimpleNamespace, clock: Any) -> None:
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        offers = [kit.offer("huddle", "B200", 3.99, fetched_ms=kit.NOW_MS - 20 * kit.MINUTE_MS),
                  kit.offer("huddle", "H200", 2.99, fetched_ms=kit.NOW_MS),
                  kit.offer("huddle", "L40S", 0.91, stock=Stock.NONE, fetched_ms=kit.NOW_MS)]  # fmt: skip
        await keep(pilot, kit, offers, at_ms=kit.NOW_MS)
        faint = app.theme_variables["faint"]
        dim = {}
        for y, line in enumerate(lines_of(pilot)):
            if "Huddle" in line:
                colours = {str(part.style.color.name) for part in table_of(pilot).render_line(y) if part.text.strip()}
                dim[line.split()[1]] = faint in colours and len(colours) <= 2
        assert dim == {"B200": True, "H200": False, "L40S": True}
        assert "20 min" in next(line for line in lines_of(pilot) if "B200" in line)


async def test_only_a_provider_that_was_asked_again_is_read_again(
    app: GputuiApp, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = offer_store.load_listing

    def noting(store: Any, provider: str) -> Any:
        read.append(provider)
        return real(store, provider)

    monkeypatch.setattr("gputui.tui.offer_book.load_listing", noting)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        assert sorted(read) == ["huddle", "mock"]
        await keep(pilot, kit, many(kit, 3), at_ms=kit.NOW_MS)
        assert read[2:] == ["huddle"]
        await press(pilot, "o", "down", "enter")
        assert read[2:] == ["huddle"]


async def test_offers_of_a_provider_without_a_key_are_not_shown(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(keys=())
    kit.fill_market(desk)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await press(pilot, "2")
        assert {key.partition(":")[0] for key in table_of(pilot).keys} == {"mock"}


EVIL = "[/x][@click=app.quit]\x1b[2J\n\r\t\u202eabc\u200b🤖語" + "y" * 10_000


async def test_hostile_text_in_offers_moves_nothing(make_desk: Any, kit: SimpleNamespace) -> None:
    desk = make_desk(handler=lambda request: httpx.Response(500, text=EVIL))
    offers = [replace(kit.offer("huddle", EVIL, 1.0, region=EVIL), id=EVIL, native={EVIL: EVIL, "x": [EVIL]}),
              kit.offer("huddle", "H100-SXM", 2.0)]  # fmt: skip
    offer_store.replace_snapshot(desk.store, "huddle", offers, now_ms=kit.NOW_MS, latency_ms=1)
    app = GputuiApp(desk)
    for size in (SIZE, (80, 24)):
        async with app.run_test(size=size, notifications=True) as pilot:
            await press(pilot, "2")
            await write_filter(pilot, "provider:huddle")
            await press(pilot, "enter", "d", "w", "l", "space", "c", "c")
            lines = lines_of(pilot)
            assert all(len(line) <= size[0] for line in lines)
            evil = next(line for line in lines if "[/x]" in line)
            assert "\x1b" not in evil + text_of(pilot, "#detail")
            assert "\u202e" not in evil + text_of(pilot, "#detail")
            assert any("H100-SXM" in line for line in lines)
            await press(pilot, "n")
            assert isinstance(app.screen, DeployScreen)
            await press(pilot, "minus", "question_mark", "escape", "o", "escape")
            assert app.is_running
        app = GputuiApp(desk)


async def test_while_nothing_is_known_it_says_what_it_waits_for(make_desk: Any) -> None:
    answer = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        await answer.wait()
        return httpx.Response(503, text="away")

    desk = make_desk(keys=("huddle",), handler=slow)
    offer_store.replace_snapshot(desk.store, "mock", [], now_ms=desk.clock.now_ms(), latency_ms=1)
    app = GputuiApp(desk)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.pause()
        await pilot.press("2")
        await pilot.pause()
        assert "Asking the providers" in str(app.screen.query_one("#empty").render())
        answer.set()
        await settle(pilot)
        assert "No offers yet" in str(app.screen.query_one("#empty").render())
        assert table_of(pilot).has_focus
