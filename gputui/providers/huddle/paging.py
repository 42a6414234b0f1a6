"""Reading Huddle's lists to their end: offers by page number, deployments by cursor, and neither quite as described.

Huddle docs, gpu-offers/listAvailableGPUs: a page holds 6 offers unless asked otherwise, 100 at most. The guide and the
reference name the cursor differently and disagree on which list has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from gputui.model.errors import Malformed
from gputui.providers.huddle.wire import Page

PAGE_SIZE = 100
MAX_PAGES = 200
MAX_PASSES = 3

FetchPage = Callable[[dict[str, Any]], Awaitable[Page]]


async def by_number(fetch: FetchPage, key_of: Callable[[Any], str]) -> list[Any]:
    """Return the rows of all numbered pages, each key once, the row read last.

    A list that changes while it is read can push a row over a page edge unseen. It shows as a changed total or as a row
    read twice; then everything is read again, a few times at most, and all that was seen counts.
    """
    seen: dict[str, Any] = {}
    for _ in range(MAX_PASSES):
        rows, is_settled = await _one_pass(fetch, key_of)
        if is_settled:
            return list(rows.values())
        seen.update(rows)
    return list(seen.values())


async def _one_pass(fetch: FetchPage, key_of: Callable[[Any], str]) -> tuple[dict[str, Any], bool]:
    """Return the rows of one reading, and whether the list seems to have held still."""
    rows: dict[str, Any] = {}
    totals: set[int | None] = set()
    has_repeats = False
    row_count = 0
    cursor: str | None = None
    for number in range(1, MAX_PAGES + 1):
        params: dict[str, Any] = {"limit": PAGE_SIZE, "page": number}
        if cursor is not None:
            params["cursor"] = cursor
        page = await fetch(params)
        fresh = {key_of(row): row for row in page.rows}
        has_repeats = has_repeats or (number > 1 and not fresh.keys().isdisjoint(rows))
        has_news = not fresh.keys() <= rows.keys()
        rows.update(fresh)
        row_count += len(page.rows)
        totals.add(page.total)
        if not has_news or _is_last(page, row_count):
            is_whole = page.total is None or row_count >= page.total
            return rows, number == 1 or (is_whole and len(totals) == 1 and not has_repeats)
        cursor = page.cursor
    raise _malformed("Huddle's list of offers does not end.")


def _is_last(page: Page, row_count: int) -> bool:
    """Say whether a page needs no other after it. A short page proves nothing: the server may cap its size."""
    if not page.rows:
        return True
    if page.has_more:
        return False
    return row_count >= page.total if page.total is not None else page.has_more is False


async def by_cursor(fetch: FetchPage) -> list[Any]:
    """Return the rows of all pages that follow each other by cursor; a list that is never split is one page.

    Raises Malformed when there is more but no way to it: what is not in a list may be taken for gone.
    """
    rows: list[Any] = []
    used: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await fetch({"cursor": cursor} if cursor is not None else {})
        rows.extend(page.rows)
        if page.cursor is None and page.has_more and page.rows:
            raise _malformed("Huddle's list says that there is more, but not how to get it.")
        if page.cursor is None or page.cursor in used or not page.rows:
            return rows
        cursor = page.cursor
        used.add(cursor)
    raise _malformed("Huddle's list does not end.")


def _malformed(message: str) -> Malformed:
    return Malformed(message, provider="huddle", operation="read a list", may_exist=False)
