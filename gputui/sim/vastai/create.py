"""Creating an instance: `PUT /asks/{id}/`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gputui.sim.gate import Answer, Call
from gputui.sim.vastai.contracts import evict, insufficient_credit, is_free_for, plan_special_life, queue
from gputui.sim.vastai.errors import VastError, bad_args, refused
from gputui.sim.vastai.fields import body_of, number, path_id, text
from gputui.sim.vastai.market import Listing
from gputui.sim.vastai.state import Caller, Contract, StoredVolume, VastState
from gputui.sim.vastai.volumes import MOUNT, new_volume, volume_to_mount
from gputui.sim.workload import pull_error
from gputui.sim.world import Order, OutOfCapacity

DEFAULT_DISK_GB = 8.0
MAX_ONSTART = 4048
TICK_S = 5

_BAD_ID = "error 400/3467: Invalid args: 'id' is required and must be a valid offer ID"
_SSH_WORDS = frozenset({"ssh", "ssh_proxy", "ssh_direct", "ssh_direc"})
_JUPYTER_WORDS = frozenset({"jupyter", "jupyter_proxy", "jupyter_direct", "jupyter_direc"})


@dataclass(frozen=True, slots=True)
class _Wish:
    """A create request that has been read and makes sense. `bid_usd` None is on demand."""

    image: str
    label: str | None
    disk_gb: float
    runtype: str
    env: tuple[tuple[str, str], ...]
    onstart: str | None
    args: tuple[str, ...]
    bid_usd: Decimal | None
    is_stopped: bool
    cancels: bool
    volume: StoredVolume | None
    volume_gb: int
    volume_name: str | None


class Create:
    """Takes an offer."""

    def __init__(self, state: VastState) -> None:
        self._state = state

    async def accept(self, call: Call, caller: Caller) -> Answer:
        """Serve `PUT /asks/{id}/`. The answer's `new_contract` is the instance's id, some errors have one too."""
        ask_id = path_id(call, complaint=_BAD_ID)
        listing = self._state.market.of_offer(ask_id)
        wish = self._read(caller, body_of(call), listing)
        if refusal := insufficient_credit(call.world, caller.tenant):
            raise refusal
        if call.fires("offer_race"):
            raise self._gone(ask_id, "410")
        if listing is None:
            raise self._gone(ask_id)
        waits_for = self._claim(listing, wish, ask_id)
        try:
            contract = self._order(call, caller, listing, wish, ask_id, waits_for)
        except OutOfCapacity:
            raise self._gone(ask_id) from None
        if waits_for == "bid" and wish.bid_usd is not None:
            said = "error 400/3791: Bid price is below the minimum bid of this offer."
            raise refused(400, "invalid_price", said, new_contract=contract.id, ask_id=ask_id)
        secret = self._state.mint_instance_key(caller.tenant, contract.id)
        contract.machine.environ = {"CONTAINER_API_KEY": secret, "CONTAINER_ID": str(contract.id)}
        return Answer({"success": True, "new_contract": contract.id, "instance_api_key": secret})

    def _claim(self, listing: Listing, wish: _Wish, ask_id: int) -> str:
        """Free the listing's hardware for the new contract. Returns what the contract waits for instead, if anything."""
        if wish.is_stopped:
            return "nothing"
        if is_free_for(self._state, listing, bid_usd=wish.bid_usd):
            evict(self._state, listing)
            return ""
        is_too_low = wish.bid_usd is not None and is_free_for(self._state, listing, bid_usd=None)
        if is_too_low and self._state.world.faults.flag("low_bid_leaves_instance"):
            return "bid"
        if is_too_low:
            raise refused(400, "invalid_price", "Bid price is below the minimum bid of this offer.", ask_id=ask_id)
        if wish.cancels:
            raise self._gone(ask_id)
        return "start"

    def _order(
        self, call: Call, caller: Caller, listing: Listing, wish: _Wish, ask_id: int, waits_for: str
    ) -> Contract:
        state, world, tenant = self._state, call.world, caller.tenant
        faults = world.faults
        down, up = faults.number("traffic_down_gb_per_hour"), faults.number("traffic_up_gb_per_hour")
        traffic = listing.down_usd_per_gb * Decimal(str(down)) + listing.up_usd_per_gb * Decimal(str(up))
        storage = listing.storage_usd_per_hour(wish.disk_gb)
        gpu = state.market.gpu_usd(listing) if wish.bid_usd is None else wish.bid_usd
        keys = tenant.account_keys()
        contract_id = state.new_contract_id()
        machine = world.order(
            Order(
                account=tenant.account,
                instance_type=listing.instance.name,
                region=listing.region,
                label=wish.label or "",
                operation=call.operation,
                authorized_keys=tuple(key.line for key in keys),
                tick_s=TICK_S,
                machine_id=str(contract_id),
                units=0 if waits_for else 1,
                usd_per_hour=gpu + storage + traffic,
                billing_start="ordered",
                idle_usd_per_hour=storage,
                charges_offline=False,
            )
        )
        machine.units = 1
        if machine.ssh_port is None:
            machine.ip = str(listing.fields["public_ipaddr"])
        if "args" in wish.runtype.split():
            machine.ssh_delay_ms = None
        contract = Contract(
            id=contract_id,
            machine=machine,
            listing=listing,
            ask_id=ask_id,
            image=wish.image,
            label=wish.label,
            disk_gb=wish.disk_gb,
            runtype=wish.runtype,
            env=wish.env,
            onstart=wish.onstart,
            args=wish.args,
            is_bid=wish.bid_usd is not None,
            end_ms=state.market.end_ms(listing),
            storage_usd_per_hour=storage,
            traffic_usd_per_hour=traffic,
            down_gb_per_hour=down,
            up_gb_per_hour=up,
            jupyter_token=world.new_hex(64),
            ssh_key_ids={key.id for key in keys},
            is_stop_wanted=wish.is_stopped,
            is_image_missing=pull_error(wish.image) is not None or call.fires("image_not_found"),
        )
        state.add(tenant, contract)
        state.market.note_contract(listing)
        if waits_for:
            queue(world, contract, "" if waits_for == "nothing" else waits_for)
        else:
            plan_special_life(world, contract, call.operation)
        self._mount(caller, contract, wish)
        return contract

    def _mount(self, caller: Caller, contract: Contract, wish: _Wish) -> None:
        volume = wish.volume
        if volume is None and wish.volume_gb:
            volume = new_volume(self._state, caller.tenant, contract.listing, wish.volume_gb, wish.volume_name)
        if volume is not None:
            volume.contract = contract

    def _read(self, caller: Caller, body: dict[str, Any], listing: Listing | None) -> _Wish:
        if body.get("template_hash_id") or body.get("template_id"):
            raise bad_args("Invalid args: template not found")
        image = text(body, "image")
        if image is None:
            raise bad_args("Invalid args: 'image' is required")
        args = _args(body)
        runtype = text(body, "runtype") or ("args" if args else "ssh")
        words = set(runtype.split())
        if not words or not (words == {"args"} or words <= _SSH_WORDS | _JUPYTER_WORDS):
            raise bad_args(f"Invalid args: unknown runtype '{runtype}'")
        onstart = text(body, "onstart")
        if onstart is not None and len(onstart) > MAX_ONSTART:
            raise bad_args(f"Invalid args: 'onstart' is limited to {MAX_ONSTART} characters")
        disk_gb = number(body, "disk") or DEFAULT_DISK_GB
        if disk_gb <= 0:
            raise bad_args("Invalid args: 'disk' must be positive")
        bid_usd = _bid(body)
        state = body.get("target_state") or "running"
        if state not in ("running", "stopped"):
            raise bad_args("Invalid args: 'target_state' must be 'running' or 'stopped'")
        if body.get("vm") and not caller.tenant.account_keys():
            raise refused(400, "no_ssh_key_for_vm", "Please add an SSH key to your account before creating a VM.")
        env = _env(body)
        info = body.get("volume_info") if isinstance(body.get("volume_info"), dict) else None
        volume, volume_gb = self._volume(caller, env, info, listing)
        cancels = body.get("cancel_unavail")
        return _Wish(
            image=image,
            label=text(body, "label"),
            disk_gb=disk_gb if listing is None else min(disk_gb, listing.disk_gb),
            runtype=runtype,
            env=env,
            onstart=onstart,
            args=args,
            bid_usd=bid_usd,
            is_stopped=state == "stopped",
            cancels=bid_usd is None if cancels is None else bool(cancels),
            volume=volume,
            volume_gb=volume_gb,
            volume_name=text(info, "name") if info else None,
        )

    def _volume(
        self, caller: Caller, env: tuple[tuple[str, str], ...], info: dict[str, Any] | None, listing: Listing | None
    ) -> tuple[StoredVolume | None, int]:
        """Return the volume to be mounted, or the size of one to be made."""
        mounts = [int(found["id"]) for name, _ in env if (found := MOUNT.fullmatch(name))]
        if info and info.get("create_new"):
            size = int(number(info, "size") or 15)
            offered = self._state.market.of_volume_ask(int(number(info, "volume_id") or 0))
            if listing is not None and (offered is None or offered.index != listing.index or size > offered.volume_gb):
                raise bad_args("Invalid args: the volume offer is not on this machine or too small")
            return None, size
        if info:
            mounts.append(int(number(info, "volume_id") or 0))
        if not mounts:
            return None, 0
        return volume_to_mount(caller.tenant, mounts[0], listing), 0

    def _gone(self, ask_id: int, form: str | None = None) -> VastError:
        """Return the answer for an offer that is unknown or taken."""
        form = form or self._state.world.faults.choice("offer_gone_as")
        if form == "404":
            text = f"error 404/3603: no_such_ask Instance type by id {ask_id} is not available."
            return refused(404, "invalid_args", text, ask_id=ask_id)
        text = f"error {form}/3907: no_such_ask Instance type {ask_id} is no longer available."
        return refused(int(form), "no_such_ask", text, ask_id=ask_id)


def _bid(body: dict[str, Any]) -> Decimal | None:
    price = number(body, "price")
    if price is None:
        return None
    if not 0.001 <= price <= 128:
        raise refused(400, "invalid_price", "Invalid price: must be between 0.001 and 128.")
    return Decimal(str(price))


def _args(body: dict[str, Any]) -> tuple[str, ...]:
    args = body.get("args")
    if args is None:
        line = text(body, "args_str")
        return (line,) if line else ()
    if not isinstance(args, list) or not all(isinstance(item, str) for item in args):
        raise bad_args("Invalid args: 'args' must be a list of strings")
    return tuple(args)


def _env(body: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    env = body.get("env")
    if env is None:
        return ()
    if not isinstance(env, dict):
        raise bad_args("Invalid args: 'env' must be an object")
    return tuple((str(name), str(value)) for name, value in env.items())
