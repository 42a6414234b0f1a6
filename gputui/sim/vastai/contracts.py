"""The life of contracts: who gets a host's machine, starting, stopping, being outbid, and the end of the contract or the money.

A listing's hardware is held by one contract. An on-demand contract beats every bid, a higher bid beats a lower one; who is
beaten is stopped and waits. A stopped contract holds nothing but its disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from gputui.sim.lives import ENDED, Life
from gputui.sim.vastai.errors import VastError, refused
from gputui.sim.vastai.market import Listing
from gputui.sim.vastai.offers import bid_floor_usd
from gputui.sim.vastai.state import Contract, Tenant, VastState, gives_way, is_living
from gputui.sim.workload import workload_from
from gputui.sim.world import Account, World


def resources_unavailable() -> VastError:
    """Return what a start without a free GPU answers: a success status for something that failed."""
    text = "Required resources are currently unavailable, state change queued."
    return refused(200, "resources_unavailable", text)


def insufficient_credit(world: World, tenant: Tenant) -> VastError | None:
    """Return the refusal of an account without enough credit, None for one with."""
    if world.balance_usd(tenant.account) > Decimal(str(world.faults.number("minimum_credit_usd"))):
        return None
    return refused(400, "insufficient_credit", "Your account has insufficient credit to rent this instance.")


def is_free_for(state: VastState, listing: Listing, *, bid_usd: Decimal | None) -> bool:
    """Say whether a listing can be had now: on demand with `bid_usd` None, else by that bid."""
    if not state.market.exists(listing):
        return False
    holder = state.holder(listing)
    if bid_usd is not None and bid_usd < bid_floor_usd(listing, holder):
        return False
    return gives_way(holder, state.world.now_ms())


def evict(state: VastState, listing: Listing) -> None:
    """Stop the interruptible contract that holds a listing, or would soon by itself; it waits for its turn."""
    now_ms = state.world.now_ms()
    for contract in state.on_listing(listing):
        machine = contract.machine
        will_run = any(at > now_ms and life is Life.RUNNING for at, life in machine.timeline)
        if is_living(machine, now_ms) and (machine.holds_capacity(now_ms) or will_run):
            contract.waits_for = "bid"
            _plan(state.world, contract, (now_ms, Life.RELEASED))


def start(state: VastState, tenant: Tenant, contract: Contract, operation: str) -> None:
    """Start a stopped contract. Raises VastError: without a free GPU the wish is kept and answered 200, success false."""
    world, machine, now_ms = state.world, contract.machine, state.world.now_ms()
    was_stopping = contract.is_stop_wanted
    contract.is_stop_wanted = contract.is_stop_stuck = False
    if machine.life(now_ms) is not Life.RELEASED:
        contract.waits_for = "start" if was_stopping else contract.waits_for
        return
    if refusal := insufficient_credit(world, tenant):
        raise refusal
    is_over = now_ms >= contract.end_ms
    if is_over or world.faults.fires("start_refused", operation) or not _can_run(state, contract):
        contract.waits_for = "" if is_over else "start"
        raise resources_unavailable()
    _run(state, contract)


def stop(world: World, contract: Contract, operation: str) -> None:
    """Stop a contract in whatever state, and give up waiting for a GPU."""
    machine, now_ms = contract.machine, world.now_ms()
    contract.is_stop_wanted, contract.waits_for = True, ""
    life = machine.life(now_ms)
    if life in (Life.RELEASED, Life.OFFLINE):
        return
    contract.is_stop_stuck = life is Life.PROVISIONING and world.faults.fires("stop_stuck", operation)
    after_ms = round(world.faults.number("power_s") * 1000)
    _plan(world, contract, (now_ms + after_ms, Life.RELEASED))


def relaunch(world: World, contract: Contract, shows: str) -> None:
    """Take a running container down and up again, its GPU kept; `shows` is its status until it loads.

    A recycled one pulls its image again.
    """
    contract.is_stop_wanted = False
    _launch(world, contract, shows, pulls=shows == "recycling")


def rebid(state: VastState, tenant: Tenant, contract: Contract, usd: Decimal) -> None:
    """Change the bid of an interruptible contract: it may lose its machine by it, or get it back."""
    world, now_ms = state.world, state.world.now_ms()
    world.reprice(contract.machine.id, usd + contract.storage_usd_per_hour + contract.traffic_usd_per_hour)
    life = contract.machine.life(now_ms)
    if life is Life.RELEASED and not contract.is_stop_wanted:
        contract.waits_for = "bid"
        advance(state)
    elif life is not Life.RELEASED and usd < contract.listing.bid_floor_usd:
        contract.waits_for = "bid"
        _plan(world, contract, (now_ms, Life.RELEASED))


def advance(state: VastState) -> None:
    """Start what waits for a GPU that is free now, best claim first."""
    for contract in state.waiting():
        if not contract.is_stop_wanted and state.world.now_ms() < contract.end_ms and _can_run(state, contract):
            _run(state, contract)


def plan_special_life(world: World, contract: Contract, operation: str) -> None:
    """Add to a new contract's planned life what only happens here: no image, a higher bid, the contract's end."""
    machine = contract.machine
    running_ms = next((at for at, life in machine.timeline if life is Life.RUNNING), None)
    if running_ms is not None:
        _pull(world, contract, machine.created_ms, running_ms)
        machine.replan(
            running_ms - 1, *_from_running(world, contract, machine.created_ms, running_ms, machine.timeline)
        )
        if contract.is_bid and world.faults.fires("outbid", operation):
            outbid_ms = running_ms + round(world.faults.number("outbid_after_s") * 1000)
            back_ms = outbid_ms + (round(world.faults.number("outbid_for_s") * 1000) or math.inf)
            contract.rival = (contract.gpu_usd_per_hour * Decimal("1.1"), outbid_ms, back_ms)
            returns = [(int(back_ms), Life.RUNNING)] if math.isfinite(back_ms) else []
            machine.replan(outbid_ms - 1, (outbid_ms, Life.RELEASED), *returns)
    _hold_to_end(world, contract)


def queue(world: World, contract: Contract, waits_for: str) -> None:
    """Make a new contract a stopped one that never began, waiting for a GPU or for nothing."""
    contract.waits_for = waits_for
    contract.machine.timeline = [(contract.machine.created_ms, Life.RELEASED)]
    _hold_to_end(world, contract)


def stop_unpaid(state: VastState, account: Account, now_ms: int) -> None:
    """Stop an account's instances at the moment its credit ran out, and delete them and its volumes after the grace."""
    tenant = state.tenant_of(account)
    if tenant.unpaid is not None and tenant.unpaid[0] == account.credit_usd:
        return
    empty_ms = _when_empty(account, account.settled_until_ms, now_ms)
    gone_ms = empty_ms + round(state.world.faults.number("unpaid_grace_s") * 1000)
    tenant.unpaid = (account.credit_usd, empty_ms)
    for machine in account.machines:
        if machine.is_alive(empty_ms):
            machine.replan(empty_ms, (empty_ms, Life.RELEASED), (gone_ms, Life.DELETED))
            state.of_machine(machine).waits_for = ""
    for volume in tenant.volumes.values():
        volume.deleted_ms = gone_ms if volume.deleted_ms is None else volume.deleted_ms


def forgive(tenant: Tenant) -> None:
    """Take back the planned deletions of an account that has credit again."""
    world, now_ms = tenant.world, tenant.world.now_ms()
    if tenant.unpaid is None or world.balance_usd(tenant.account) <= 0:
        return
    tenant.unpaid = None
    for contract in tenant.contracts.values():
        if contract.machine.is_alive(now_ms):
            _plan(world, contract)
    for volume in tenant.volumes.values():
        if volume.deleted_ms is not None and volume.deleted_ms > now_ms:
            volume.deleted_ms = None


def _when_empty(account: Account, since_ms: int, now_ms: int) -> int:
    """Return the first millisecond at which an account owed all its credit, `since_ms` when it did before."""
    low, high = since_ms, now_ms
    while low < high:
        middle = (low + high) // 2
        owed = sum((machine.bill_usd(middle) for machine in account.machines), account.other_usd(middle))
        if owed >= account.credit_usd:
            high = middle
        else:
            low = middle + 1
    return low


def _can_run(state: VastState, contract: Contract) -> bool:
    if not contract.is_bid:
        return is_free_for(state, contract.listing, bid_usd=None)
    usd, now_ms = contract.gpu_usd_per_hour, state.world.now_ms()
    if contract.rival is not None:
        rival_usd, from_ms, until_ms = contract.rival
        if from_ms <= now_ms < until_ms and usd <= rival_usd:
            return False
    return is_free_for(state, contract.listing, bid_usd=usd)


def _run(state: VastState, contract: Contract) -> None:
    evict(state, contract.listing)
    contract.waits_for = ""
    _launch(state.world, contract, "exited", pulls=not contract.pulls)


def _launch(world: World, contract: Contract, shows: str, *, pulls: bool) -> None:
    now_ms = world.now_ms()
    contract.relaunched_ms, contract.relaunch_shows = now_ms, shows
    running_ms = now_ms + round(world.faults.number("reload_s") * 1000)
    if pulls:
        _pull(world, contract, now_ms, running_ms)
    steps = _from_running(world, contract, now_ms, running_ms, [(running_ms, Life.RUNNING)])
    _plan(world, contract, (now_ms, Life.PROVISIONING), *steps)


def _pull(world: World, contract: Contract, begin_ms: int, done_ms: int) -> None:
    """Count the download of the image, which is paid for when it is done. No more comes than the line carries."""
    if not contract.is_image_missing:
        line_gb = float(contract.listing.fields["inet_down"]) / 8 / 1000 * (done_ms - begin_ms) / 1000
        gb = min(world.faults.number("image_gb"), line_gb)
        contract.pulls.append((done_ms, gb))
        contract.machine.extras.append((done_ms, contract.listing.down_usd_per_gb * Decimal(str(gb))))


def _from_running(
    world: World, contract: Contract, launched_ms: int, running_ms: int, planned: Sequence[tuple[int, Life]]
) -> list[tuple[int, Life]]:
    """Return what becomes of a launched container from when it should run: nothing without its image; its command may end."""
    if contract.is_image_missing:
        return [(launched_ms + round(world.faults.number("image_gives_up_s") * 1000), Life.RELEASED)]
    steps = [(at, life) for at, life in planned if at >= running_ms]
    if not contract.has_ssh and len(steps) == 1:
        duration_s = workload_from(contract.image, contract.command, dict(contract.env)).duration_s
        steps.append((running_ms + round(duration_s * 1000), Life.ERROR))
    return steps


def _plan(world: World, contract: Contract, *steps: tuple[int, Life]) -> None:
    contract.machine.replan(world.now_ms(), *steps)
    _hold_to_end(world, contract)


def _hold_to_end(world: World, contract: Contract) -> None:
    """Let a contract's planned life end with the contract: stopped then, deleted after the grace."""
    machine, end_ms = contract.machine, contract.end_ms
    kept = [(at, life) for at, life in machine.timeline if at < end_ms]
    if kept and kept[-1][1] not in ENDED:
        grace_ms = round(world.faults.number("contract_grace_s") * 1000)
        kept += [(end_ms, Life.RELEASED), (end_ms + grace_ms, Life.DELETED)]
    machine.timeline = kept
