"""Asking Huddle: pages, paths, and what an unreadable answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from gputui.model.errors import Gone, Malformed, Rejected
from gputui.model.keys import check_key_text
from gputui.providers.http import HttpClient
from gputui.providers.huddle import mapping, paging, wire
from gputui.providers.huddle.mapping import PROVIDER
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply

T = TypeVar("T")

ORDER, MAKE_VOLUME, ADD_KEY = "order a machine", "make a volume", "add an SSH key"
MAKE_API_KEY, MAKE_WEBHOOK, JOIN = "make an API key", "make a webhook", "join the waitlist"
# What an answer that cannot be read may have left behind.
_MAKERS = frozenset({ORDER, MAKE_VOLUME, MAKE_API_KEY, MAKE_WEBHOOK, JOIN})


class HuddleCalls:
    """The wire to one account."""

    def __init__(self, context: ClientContext) -> None:
        key = check_key_text(PROVIDER, context.api_key)
        self.http = HttpClient(
            PROVIDER,
            context.url or provider_info(PROVIDER).default_url,
            clock=context.clock,
            headers={"X-API-Key": key},
            secrets=(key,),
            map_error=lambda reply: mapping.error_in(reply, context.clock.now_ms()),
            transport=context.transport,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def read(self, path: str, operation: str, params: dict[str, Any] | None = None) -> Reply:
        """Read something that is always there, so that a 404 means another server than we think: Malformed."""
        try:
            return await self.http.get(path, operation=operation, params=params)
        except Gone as error:
            raise Malformed(
                f"There is no {path} at this address (404).",
                provider=PROVIDER,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
                may_exist=False,
                hint="Check the URL set for Huddle.",
            ) from None

    async def page(self, path: str, operation: str, params: dict[str, Any]) -> wire.Page:
        """Return one page of a list."""
        return understood(await self.read(path, operation, params), wire.page_of)

    async def rows(self, path: str, operation: str, params: dict[str, Any] | None = None) -> list[Any]:
        """Return all rows of a list, following cursors where it gives any."""

        async def fetch(place: dict[str, Any]) -> wire.Page:
            return await self.page(path, operation, {**(params or {}), **place})

        return await paging.by_cursor(fetch)

    async def items(self, path: str, operation: str, read: Callable[[Any], T | None]) -> list[T]:
        """Return everything in a list. Raises Malformed rather than leave out what cannot be read."""
        found = []
        for row in await self.rows(path, operation):
            item = read(row)
            if item is None:
                raise Malformed(
                    f"Huddle listed something without an id ({operation}).",
                    provider=PROVIDER,
                    operation=operation,
                    may_exist=False,
                )
            found.append(item)
        return found

    async def make(self, path: str, body: dict[str, Any], operation: str, read: Callable[[Any], T | None]) -> T:
        """Make something, once, and return what the answer says of it.

        What is missing then (404) is a part of the request, so it is Rejected, never Gone.
        """
        try:
            reply = await self.http.send("POST", path, operation=operation, json_body=body)
        except Gone as error:
            raise Rejected(
                error.message,
                provider=PROVIDER,
                operation=operation,
                status=error.status,
                request_id=error.request_id,
            ) from None
        return read_in(reply, read)

    async def delete(self, collection: str, item_id: str, operation: str) -> None:
        """Delete one thing; any 2xx is taken. Raises Gone for one that is not there."""
        await self.http.send("DELETE", item_path(collection, item_id), operation=operation)


def understood(reply: Reply, read: Callable[[Any], T]) -> T:
    """Return what an answer says. Raises Malformed when it does not hold what it must."""
    try:
        return read(reply.data)
    except wire.Unreadable:
        raise malformed(reply) from None


def read_in(reply: Reply, read: Callable[[Any], T | None]) -> T:
    """Return what the `data` of an answer says. Raises Malformed when that is nothing."""
    found = understood(reply, lambda body: read(wire.data_of(body)))
    if found is None:
        raise malformed(reply)
    return found


def malformed(reply: Reply) -> Malformed:
    """Return the error for a 2xx that does not hold what it must. Only after an order may something exist unseen."""
    return Malformed(
        f"Huddle answered {reply.operation} without what was asked for.",
        provider=PROVIDER,
        operation=reply.operation,
        status=reply.status,
        request_id=reply.request_id,
        may_exist=reply.operation in _MAKERS,
    )


def item_path(collection: str, item_id: str) -> str:
    """Return the path of one item. Raises Gone for an id that would lead to another address."""
    if not item_id.strip("./ "):
        raise Gone(f"Huddle has nothing with the id {item_id!r}.", provider=PROVIDER)
    return f"{collection}/{quote(item_id, safe='')}"
