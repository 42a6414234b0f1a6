"""Who may call what: keys, the permissions of scoped ones, and the rate limits in front of both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gputui.sim.gate import Answer, Call, Handler
from gputui.sim.vastai.contracts import advance, forgive
from gputui.sim.vastai.errors import VastError, bad_key, refused
from gputui.sim.vastai.pacing import Pacer
from gputui.sim.vastai.state import Caller, VastState

CallerHandler: TypeAlias = Callable[[Call, Caller], Awaitable[Answer]]
OpenHandler: TypeAlias = Callable[[Call, Caller | None], Awaitable[Answer]]

_OF_AN_INSTANCE = frozenset({"get_instance", "manage_instance", "destroy_instance"})


class Access:
    """Wraps handlers so that only calls that may go on reach them."""

    def __init__(self, state: VastState) -> None:
        self._state = state
        self._pacer = Pacer()

    def with_key(self, category: str, handler: CallerHandler, *, is_volume: bool = False) -> Handler:
        """Return a handler that needs a key with the permission `category`."""

        async def answer(call: Call) -> Answer:
            secret = _secret_in(call)
            self._pacer.check(call, secret)
            if not secret:
                raise _no_key(is_volume=is_volume)
            return await handler(call, self._caller(call, secret, category))

        return answer

    def without_key(self, handler: OpenHandler) -> Handler:
        """Return a handler that needs no key; one that is given must be good, and its account is who asks."""

        async def answer(call: Call) -> Answer:
            secret = _secret_in(call)
            self._pacer.check(call, secret)
            return await handler(call, self._caller(call, secret, "misc") if secret else None)

        return answer

    def _caller(self, call: Call, secret: str, category: str) -> Caller:
        caller = self._state.caller(secret)
        if caller is None:
            raise bad_key(call.world)
        if not _may(call, caller, category):
            said = "You do not have permission to perform this action."
            raise refused(int(call.world.faults.choice("forbidden_status")), "not_authorized", said)
        forgive(caller.tenant)
        advance(self._state)
        return caller


def _may(call: Call, caller: Caller, category: str) -> bool:
    key = caller.key
    if key.contract_id is not None:
        return call.operation.rpartition(".")[2] in _OF_AN_INSTANCE and call.path.get("id") == str(key.contract_id)
    return key.permissions is None or category in key.permissions


def _no_key(*, is_volume: bool) -> VastError:
    if is_volume:
        return VastError(401, {"detail": "Authentication credentials were not provided."})
    return refused(403, "auth_error", "This action requires login.")


def _secret_in(call: Call) -> str:
    """Return the key of a request: that of the header, else that of the older query parameter."""
    scheme, _, bearer = call.request.headers.get("authorization", "").partition(" ")
    return (bearer.strip() if scheme.lower() == "bearer" else "") or call.query("api_key") or ""
