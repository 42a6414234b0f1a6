"""Asking RunPod: the REST API and beside it the older GraphQL one, pages, paths, and what an unreadable answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urljoin

from gputui.model.errors import AuthError, Gone, Malformed, Rejected
from gputui.model.keys import check_key_text
from gputui.providers.http import HttpClient
from gputui.providers.pacing import Pacer
from gputui.providers.registry import ClientContext, provider_info
from gputui.providers.replies import Reply
from gputui.providers.runpod import limits, refusals, wire
from gputui.providers.runpod.wire import PROVIDER

T = TypeVar("T")

MAX_PAGES = 200
# What an API that is gone, or closed to this key, answers: nothing is told then.
_NOT_TOLD = frozenset({400, 403, 404, 405, 410})


class RunPodCalls:
    """The wire to one account. Calls wait for their turn within RunPod's limits and raise ProviderError."""

    def __init__(self, context: ClientContext) -> None:
        key = check_key_text(PROVIDER, context.api_key)
        url = context.url or provider_info(PROVIDER).default_url
        folder, clock = context.state_dir / "pacing", context.clock
        headers = {"Authorization": f"Bearer {key}"}
        self.http = HttpClient(
            PROVIDER,
            url,
            clock=clock,
            headers=headers,
            secrets=(key,),
            map_error=lambda reply: refusals.error_in(reply, clock.now_ms()),
            transport=context.transport,
            pacer=Pacer(folder, PROVIDER, limits.PACES, clock=clock, urgent=limits.URGENT),
            read_pause=limits.pause_in,
        )
        self._graphql = HttpClient(
            PROVIDER,
            urljoin(url.rstrip("/") + "/", ".."),
            clock=clock,
            headers=headers,
            secrets=(key,),
            map_error=refusals.graphql_error_in,
            transport=context.transport,
            pacer=Pacer(folder, PROVIDER, limits.GRAPHQL_PACES, clock=clock, beside="graphql"),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        await self._graphql.aclose()

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
                hint="Check the URL set for RunPod.",
            ) from None

    async def rows(self, path: str, member: str, operation: str, params: dict[str, Any] | None = None) -> list[Any]:
        """Return a whole list, all its pages. Raises Malformed rather than stop short."""
        rows: list[Any] = []
        asked: dict[str, Any] = dict(params or {})
        for _ in range(MAX_PAGES):
            reply = await self.read(path, operation, asked)
            rows += understood(reply, lambda body: wire.rows_of(body, member))
            cursor = understood(reply, wire.next_cursor)
            if cursor is None:
                return rows
            if cursor == asked.get("cursor"):
                break
            asked["cursor"] = cursor
        raise Malformed(
            f"RunPod's list has no end ({operation}).", provider=PROVIDER, operation=operation, may_exist=False
        )

    async def make(self, path: str, body: dict[str, Any], operation: str) -> Reply:
        """Ask for something new, once. What is missing then is a part of the request, so it is Rejected, never Gone."""
        try:
            return await self.http.send("POST", path, operation=operation, json_body=body)
        except Gone as error:
            raise Rejected(
                error.message,
                provider=error.provider,
                operation=error.operation,
                request_id=error.request_id,
                status=error.status,
            ) from None

    async def ask_account(self, fields: str, operation: str) -> dict[str, Any] | None:
        """Return what the older GraphQL API says of the account, None where it does not: it is being taken down."""
        question = {"query": f"query {{ myself {{ {fields} }} }}"}
        try:
            reply = await self._graphql.query("graphql", operation=operation, json_body=question)
        except (AuthError, Gone, Rejected, Malformed) as error:
            if error.status in _NOT_TOLD:
                return None
            raise
        data = understood(reply, _data_of)
        account = data.get("myself") if isinstance(data, dict) else None
        return account if isinstance(account, dict) else None


def _data_of(body: Any) -> Any:
    """Return what a GraphQL answer holds: null beside errors, and for a key that it does not know."""
    if not isinstance(body, dict) or not ("data" in body or "errors" in body):
        raise wire.Unreadable("no answer to the question")
    return body.get("data")


def understood(reply: Reply, read: Callable[[Any], T]) -> T:
    """Return what an answer says. Raises Malformed when it does not hold what it must."""
    try:
        return read(reply.data)
    except wire.Unreadable:
        raise malformed(reply) from None


def malformed(reply: Reply) -> Malformed:
    """Return the error for a 2xx that does not hold what it must. Only after an order may something exist unseen."""
    return Malformed(
        f"RunPod answered {reply.operation} without what was asked for.",
        provider=PROVIDER,
        operation=reply.operation,
        status=reply.status,
        request_id=reply.request_id,
        may_exist=reply.operation in limits.MAKERS,
    )


def item_path(collection: str, item_id: str, *more: str) -> str:
    """Return the path of one item. Raises Gone for an id that would lead to another address."""
    if not item_id.strip("./ "):
        raise Gone(f"RunPod has nothing with the id {item_id!r}.", provider=PROVIDER)
    return "/".join((collection, quote(item_id, safe=""), *more))
