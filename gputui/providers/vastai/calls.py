"""Asking Vast.ai: pages, paths, and what an answer without the parts it must have means."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from gputui.model.errors import Gone, Malformed, ProviderError
from gputui.model.keys import check_key_text
from gputui.providers.http import HttpClient
from gputui.providers.pacing import Pacer
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply
from gputui.providers.vastai import limits, refusals, wire
from gputui.providers.vastai.wire import PROVIDER

T = TypeVar("T")

MAX_PAGES = 200
_MAKERS = frozenset({limits.ORDER, limits.MAKE_VOLUME})


class VastCalls:
    """The wire to one account. Calls wait for their turn within Vast.ai's limits and raise ProviderError."""

    def __init__(self, context: ClientContext) -> None:
        key = check_key_text(PROVIDER, context.api_key)
        self._http = HttpClient(
            PROVIDER,
            context.url or provider_info(PROVIDER).default_url,
            clock=context.clock,
            headers={"Authorization": f"Bearer {key}"},
            secrets=(key,),
            map_error=lambda reply: refusals.error_in(reply, context.clock.now_ms()),
            transport=context.transport,
            shapes={limits.SEARCH: wire.WireMarket},
            pacer=Pacer(
                context.state_dir / "pacing", PROVIDER, limits.PACES, clock=context.clock, limits_are_per_operation=True
            ),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def read_item(self, path: str, operation: str, params: dict[str, Any] | None = None) -> Reply:
        """Read something that may be missing. Raises Gone for a 404 that is not about the key."""
        return await self._http.get(path, operation=operation, params=params)

    async def read(self, path: str, operation: str, params: dict[str, Any] | None = None) -> Reply:
        """Read something that is always there, so that a 404 means another server than we think: Malformed."""
        try:
            return await self.read_item(path, operation, params)
        except Gone as error:
            raise nothing_there(path, error) from None

    async def query(self, path: str, operation: str, question: dict[str, Any]) -> list[Any]:
        """Return the offers that answer a question."""
        try:
            reply = await self._http.query(path, operation=operation, json_body=question)
        except Gone as error:
            raise nothing_there(path, error) from None
        return understood(reply, lambda body: wire.rows_of(body, "offers"))

    async def pages(self, path: str, operation: str, name: str, params: dict[str, Any]) -> list[Any]:
        """Return the rows of all pages. Raises Malformed for a list that leads in a circle."""
        rows: list[Any] = []
        used: set[str] = set()
        token: str | None = None
        while len(used) < MAX_PAGES:
            reply = await self.read(path, operation, {**params, "after_token": token})
            page = understood(reply, lambda body: wire.page_of(body, name))
            rows.extend(page.rows)
            if page.next_token is None:
                return rows
            if page.next_token in used:
                break
            token = page.next_token
            used.add(token)
        raise Malformed("Vast.ai's list does not end.", provider=PROVIDER, operation=operation, may_exist=False)

    async def write(self, method: str, path: str, operation: str, body: Any = None) -> Reply:
        """Write, exactly once."""
        return await self._http.send(method, path, operation=operation, json_body=body)


def understood(reply: Reply, read: Callable[[Any], T]) -> T:
    """Return what `read` makes of an answer. Raises Malformed when it lacks what it must have."""
    try:
        return read(reply.data)
    except wire.Unreadable:
        raise malformed(reply) from None


def malformed(reply: Reply) -> Malformed:
    """Return the error for a 2xx that does not hold what it must. Only after an order may something exist unseen."""
    return Malformed(
        f"Vast.ai answered {reply.operation} without what was asked for.",
        provider=PROVIDER,
        operation=reply.operation,
        status=reply.status,
        request_id=reply.request_id,
        may_exist=reply.operation in _MAKERS,
    )


def unreadable(operation: str) -> NoReturn:
    """Raise Malformed for a list with something in it that cannot be read."""
    raise Malformed(
        f"Vast.ai answered {operation} with something that cannot be read.",
        provider=PROVIDER,
        operation=operation,
        may_exist=False,
    )


def nothing_there(path: str, error: ProviderError) -> Malformed:
    """Return what a 404 means for something that every account has."""
    return Malformed(
        f"There is no {path} at this address (404).",
        provider=PROVIDER,
        operation=error.operation,
        status=error.status,
        request_id=error.request_id,
        may_exist=False,
        hint="Check the URL set for Vast.ai.",
    )


def item_path(collection: str, item_id: str) -> str:
    """Return the path of one item. Raises Gone for what is no id: all of Vast.ai's are numbers."""
    if not (item_id.isascii() and item_id.isdecimal()):
        raise no_such(item_id)
    return f"api/v0/{collection}/{item_id}/"


def no_such(item_id: str, reply: Reply | None = None) -> Gone:
    """Return the error for something that Vast.ai does not have."""
    return Gone(
        f"Vast.ai has nothing with the id {item_id!r}.",
        provider=PROVIDER,
        operation=reply.operation if reply else "",
        status=reply.status if reply else None,
        request_id=reply.request_id if reply else None,
    )


def as_text(value: Any) -> str:
    """Return JSON for a parameter of an address."""
    return json.dumps(value, separators=(",", ":"))
