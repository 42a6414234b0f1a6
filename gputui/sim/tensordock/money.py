"""v0, of which only the key check and the balance are left, and what happens when there is none."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qs

from gputui.sim.gate import Answer, Call
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.tensordock import knobs
from gputui.sim.tensordock.render import V0Refused
from gputui.sim.tensordock.state import Tenant, TensorDockState, rate_usd
from gputui.sim.world import Account, World

_NOT_STOPPED_AGAIN = frozenset({Life.OFFLINE, Life.RELEASED, Life.ERROR, Life.DELETING})


class V0:
    """The calls of the first API: a form with `api_key` and `api_token`, of which the token is that of v2."""

    def __init__(self, state: TensorDockState) -> None:
        self._state = state

    async def check(self, call: Call) -> Answer:
        """Serve `POST /auth/test`."""
        self._tenant(call)
        return Answer({"success": True})

    async def balance(self, call: Call) -> Answer:
        """Serve `POST /billing/balance`: the dollars left, and the dollars per hour that the organization costs now."""
        tenant, now_ms = self._tenant(call), call.world.now_ms()
        left_usd = call.world.balance_usd(tenant.account)
        hourly_usd = sum((rate_usd(machine, now_ms) for machine in tenant.account.machines), Decimal(0))
        return Answer({"success": True, "balance": round(float(left_usd), 6), "hourly_cost": float(hourly_usd)})

    def _tenant(self, call: Call) -> Tenant:
        form = parse_qs(call.body.decode("utf-8", errors="replace"))
        api_key, api_token = (form.get(name, [""])[0] for name in ("api_key", "api_token"))
        tenant = self._state.tenant(api_token) if api_key else None
        if tenant is None:
            code = int(call.world.faults.choice(knobs.V0_REFUSAL_CODE))
            raise V0Refused(code, "UNAUTHORIZED", "Invalid API key or token")
        return tenant


class Unpaid:
    """Stops the machines of an organization the moment its balance is gone, and deletes them after a time of grace."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dry_ms: dict[str, int] = {}

    def __call__(self, account: Account, now_ms: int) -> None:
        since_ms = account.settled_until_ms
        if account.id not in self._dry_ms or _balance_usd(account, since_ms) > 0:
            self._dry_ms[account.id] = _dry_ms(account, since_ms, now_ms)
        dry_ms = self._dry_ms[account.id]
        end_ms = dry_ms + round(self._world.faults.number(knobs.UNPAID_GRACE_S) * 1000)
        for machine in account.machines:
            if machine.is_alive(dry_ms) and machine.life(dry_ms) not in _NOT_STOPPED_AGAIN:
                self._stop(machine, dry_ms)
            if end_ms <= now_ms and machine.is_alive(end_ms):
                machine.replan(end_ms, (end_ms, Life.DELETED))
                machine.billing_stop_ms = end_ms

    def _stop(self, machine: SimMachine, at_ms: int) -> None:
        is_kept = self._world.faults.choice(knobs.STOP_END) == "stopped"
        machine.replan(at_ms, (at_ms, Life.OFFLINE if is_kept else Life.RELEASED))


def _balance_usd(account: Account, at_ms: int) -> Decimal:
    return account.credit_usd - sum((machine.settled_usd(at_ms) for machine in account.machines), Decimal(0))


def _dry_ms(account: Account, after_ms: int, until_ms: int) -> int:
    """Return when in (after_ms, until_ms] the balance was gone; it only falls there, and at `until_ms` it is."""
    while until_ms - after_ms > 1:
        middle_ms = (after_ms + until_ms) // 2
        if _balance_usd(account, middle_ms) > 0:
            after_ms = middle_ms
        else:
            until_ms = middle_ms
    return until_ms
