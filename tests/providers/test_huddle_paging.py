"""Lists to their end: caps on the page size, lists that change underneath, cursors that lead nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gputui.model.errors import Malformed
from gputui.providers.huddle import paging
from gputui.providers.huddle.wire import Page

Params = dict[str, Any]


class Server:
    """A numbered list of names. `cap` limits the page size; `before_page` may change `names` first."""

    def __init__(self, count: int, *, cap: int = 100, tells_total: bool = True, tells_more: bool = False) -> None:
        self.names = [f"n{number:03d}" for number in range(count)]
        self.cap = cap
        self.tells_total = tells_total
        self.tells_more = tells_more
        self.asked: list[Params] = []
        self.before_page: Callable[[int], None] = lambda asked: None

    async def __call__(self, params: Params) -> Page:
        self.asked.append(params)
        self.before_page(len(self.asked))
        size = min(self.cap, params["limit"])
        start = (params["page"] - 1) * size
        return Page(
            self.names[start : start + size],
            total=len(self.names) if self.tells_total else None,
            has_more=start + size < len(self.names) if self.tells_more else None,
        )


def numbered(server: Callable[[Params], Any]) -> list[Any]:
    return asyncio.run(paging.by_number(server, str))


def by_cursor(pages: dict[str | None, Page], asked: list[str | None] | None = None) -> list[Any]:
    async def fetch(params: Params) -> Page:
        if asked is not None:
            asked.append(params.get("cursor"))
        return pages[params.get("cursor")]

    return asyncio.run(paging.by_cursor(fetch))


class TestByNumber:
    @pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
    @pytest.mark.parametrize("cap", [6, 100])
    @pytest.mark.parametrize(
        ("tells_total", "tells_more"), [(True, False), (False, True), (True, True), (False, False)]
    )
    def test_everything_once(self, count: int, cap: int, tells_total: bool, tells_more: bool) -> None:
        server = Server(count, cap=cap, tells_total=tells_total, tells_more=tells_more)
        assert numbered(server) == [f"n{number:03d}" for number in range(count)]

    def test_one_page_is_one_question(self) -> None:
        server = Server(24)
        numbered(server)
        assert [(params["limit"], params["page"]) for params in server.asked] == [(100, 1)]

    def test_a_row_pushed_over_the_page_edge_is_not_lost(self) -> None:
        server = Server(150)

        def shrink(asked: int) -> None:
            if asked == 2:
                server.names.remove("n005")

        server.before_page = shrink
        found = numbered(server)
        assert "n100" in found
        assert set(server.names) <= set(found)

    def test_a_row_that_comes_in_while_reading_is_no_duplicate(self) -> None:
        server = Server(150)

        def grow(asked: int) -> None:
            if asked == 2:
                server.names.insert(0, "new")

        server.before_page = grow
        found = numbered(server)
        assert len(found) == len(set(found))
        assert set(found) == set(server.names)

    def test_a_swap_that_keeps_the_total_is_noticed(self) -> None:
        server = Server(150)

        def swap(asked: int) -> None:
            if asked == 2:
                server.names.remove("n149")
                server.names.insert(0, "new")

        server.before_page = swap
        found = numbered(server)
        assert {"new", "n099", "n148"} <= set(found)
        assert set(server.names) <= set(found)

    def test_a_list_that_never_holds_still_is_read_a_few_times(self) -> None:
        server = Server(150)
        server.before_page = lambda asked: server.names.insert(0, f"new-{asked}")
        found = numbered(server)
        assert {f"n{number:03d}" for number in range(150)} <= set(found)
        assert len(server.asked) <= paging.MAX_PASSES * 3

    def test_the_same_row_twice_on_one_page_is_one(self) -> None:
        server = Server(3)
        server.names.append("n001")
        assert numbered(server) == ["n000", "n001", "n002"]
        assert len(server.asked) == 1

    def test_a_server_that_ignores_the_page_number_ends(self) -> None:
        asked: list[Params] = []

        async def fetch(params: Params) -> Page:
            asked.append(params)
            return Page(["a", "b"], total=50)

        assert numbered(fetch) == ["a", "b"]
        assert len(asked) == 2 * paging.MAX_PASSES

    def test_a_server_that_pages_by_cursor_is_followed(self) -> None:
        pages = {None: Page(["a"], 3, "c1", True), "c1": Page(["b"], 3, "c2", True), "c2": Page(["c"], 3, None, False)}

        async def fetch(params: Params) -> Page:
            return pages[params.get("cursor")]

        assert numbered(fetch) == ["a", "b", "c"]

    def test_an_endless_list_is_malformed(self) -> None:
        async def fetch(params: Params) -> Page:
            return Page([f"row-{params['page']}"])

        with pytest.raises(Malformed):
            numbered(fetch)


class TestByCursor:
    def test_follows_to_the_end(self) -> None:
        asked: list[str | None] = []
        pages = {None: Page([1, 2], cursor="c1", has_more=True), "c1": Page([3], has_more=False)}
        assert by_cursor(pages, asked) == [1, 2, 3]
        assert asked == [None, "c1"]

    def test_a_cursor_counts_even_where_no_more_is_promised(self) -> None:
        assert by_cursor({None: Page([1], cursor="c1", has_more=False), "c1": Page([2])}) == [1, 2]

    def test_a_repeated_cursor_stops(self) -> None:
        assert by_cursor({None: Page([1], cursor="c1"), "c1": Page([2], cursor="c1", has_more=True)}) == [1, 2]

    def test_an_empty_page_stops(self) -> None:
        assert by_cursor({None: Page([1], cursor="c1"), "c1": Page([], cursor="c2", has_more=True)}) == [1]

    def test_more_without_a_way_to_it_is_malformed(self) -> None:
        with pytest.raises(Malformed) as caught:
            by_cursor({None: Page([1], has_more=True)})
        assert caught.value.may_exist is False

    def test_an_endless_chain_is_malformed(self) -> None:
        async def fetch(params: Params) -> Page:
            return Page([1], cursor=f"{params.get('cursor')}x")

        with pytest.raises(Malformed):
            asyncio.run(paging.by_cursor(fetch))
