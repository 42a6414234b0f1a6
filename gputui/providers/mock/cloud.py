"""The mock cloud itself: one small file, shared by every process of a profile and outliving them all.

A machine's state is a function of its record and the clock, so nothing has to run for time to pass. The file is replaced
whole, under a lock; it is readable by its owner only.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import math
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gputui.model.clock import Clock
from gputui.model.errors import Gone, Malformed, NoCapacity, Rejected, Transient
from gputui.model.states import MachineState
from gputui.model.types import CreateRequest, Machine, SshKey, Stock
from gputui.model.units import HOUR_MS, MicroUsd, MicroUsdPerHour, Ms
from gputui.providers.mock.catalogue import LISTINGS, PROVIDER, Listing, price_at
from gputui.providers.mock.records import CloudState, MockMachine, Refusals

FILE_NAME = "mock-cloud.json"
BOOT_S = 2.0
MAX_BOOT_S = 86_400.0
ROUND_MS = 10 * 60_000
LOCK_WAIT_S = 10.0
LOCK_RETRY_S = 0.02
STARTING_CREDIT_MICRO_USD: MicroUsd = 10_000 * 1_000_000


class MockCloud:
    """Machines, keys and credit in `<state_dir>/mock-cloud.json`; any number of these may share one file.

    Every method raises Malformed when the file is damaged and Transient when it cannot be read, locked or written.
    """

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        self._path = state_dir / FILE_NAME
        self._clock = clock

    async def create(self, request: CreateRequest) -> Machine:
        """Make a machine, or return the one that the same idempotency key made.

        Two variables of the job steer it. MOCK_BOOT_S: seconds until it runs, 2 by default. MOCK_NO_CAPACITY: how many
        creates of one workload are refused before one succeeds (then, or ten minutes after the last, the count starts anew),
        or "all". Raises NoCapacity; Rejected for an unknown offer or a variable that cannot be read.
        """
        if not request.label or not request.idempotency_key:
            raise _rejected("A mock machine needs a label and an idempotency key.", "label")
        boot_ms = round(_boot_s(request.env) * 1000)
        refusals_wanted = _refusals_wanted(request.env)
        listing = LISTINGS.get(str(request.offer.native.get("listing")))
        if listing is None:
            raise _rejected(f"The mock cloud has no offer {request.offer.id!r}.", "offer")
        machine_id = "mock-" + hashlib.sha256(request.idempotency_key.encode()).hexdigest()[:12]
        async with self._changing() as state:
            now_ms = self._clock.now_ms()
            if machine_id in state.machines:
                return state.machines[machine_id].as_machine(now_ms)
            if not _refuse(state, request, refusals_wanted, now_ms) and listing.stock is not Stock.NONE:
                machine = MockMachine(
                    id=machine_id,
                    label=request.label,
                    gpu=listing.gpu,
                    gpu_count=listing.gpu_count,
                    region=listing.region,
                    price_micro_usd_per_hour=_agreed_price(listing, request, now_ms),
                    created_at_ms=now_ms,
                    running_at_ms=now_ms + boot_ms,
                )
                state.machines[machine_id] = machine
                return machine.as_machine(now_ms)
        raise NoCapacity(
            f"The mock cloud has no free {listing.machine_type} in {listing.region}.",
            provider=PROVIDER,
            operation="create",
        )

    async def terminate(self, machine_id: str) -> None:
        """Begin to delete a machine; billing stops now. Raises Gone when there is none."""
        async with self._changing() as state:
            machine = self._alive(state, machine_id)
            if machine.terminated_at_ms is None:
                state.machines[machine_id] = replace(machine, terminated_at_ms=self._clock.now_ms())

    def machine(self, machine_id: str) -> Machine:
        """Return one machine. Raises Gone when there is none."""
        return self._alive(self._load(), machine_id).as_machine(self._clock.now_ms())

    def state(self, machine_id: str) -> MachineState:
        """Return a machine's state, GONE for one that is not known."""
        machine = self._load().machines.get(machine_id)
        return machine.state(self._clock.now_ms()) if machine else MachineState.GONE

    def machines(self) -> list[Machine]:
        """Return every machine that is not gone, oldest first."""
        now_ms = self._clock.now_ms()
        found = [record.as_machine(now_ms) for record in self._load().machines.values()]
        return [machine for machine in found if not machine.state.is_gone]

    @asynccontextmanager
    async def host(self, machine_id: str) -> AsyncIterator[tuple[MachineState, dict[str, Any]]]:
        """Lend a machine's state and the JSON of its host for a change, kept when the block ends well. Raises Gone."""
        async with self._changing() as state:
            machine = self._alive(state, machine_id)
            host = dict(machine.host)
            yield machine.state(self._clock.now_ms()), host
            state.machines[machine_id] = replace(machine, host=host)

    def bill_micro_usd(self, machine_id: str) -> MicroUsd:
        """Return what a machine has truly cost so far; it is told until a day after the end. Raises Gone when unknown."""
        try:
            return self._load().machines[machine_id].bill_micro_usd(self._clock.now_ms())
        except KeyError:
            raise _gone("machine", machine_id) from None

    def balance_micro_usd(self) -> MicroUsd:
        """Return the credit: ten thousand dollars less all that was ever spent. Nothing happens when it runs out."""
        state, now_ms = self._load(), self._clock.now_ms()
        spent = sum(machine.bill_micro_usd(now_ms) for machine in state.machines.values())
        return STARTING_CREDIT_MICRO_USD - state.settled_micro_usd - spent

    def ssh_keys(self) -> list[SshKey]:
        """Return the registered keys, oldest first."""
        return list(self._load().ssh_keys.values())

    async def add_ssh_key(self, key: SshKey) -> None:
        """Keep a key; one with the same id is replaced."""
        async with self._changing() as state:
            state.ssh_keys[key.id] = key

    async def delete_ssh_key(self, key_id: str) -> None:
        """Forget a key. Raises Gone when there is none."""
        async with self._changing() as state:
            if state.ssh_keys.pop(key_id, None) is None:
                raise _gone("SSH key", key_id)

    def _alive(self, state: CloudState, machine_id: str) -> MockMachine:
        machine = state.machines.get(machine_id)
        if machine is None or machine.state(self._clock.now_ms()).is_gone:
            raise _gone("machine", machine_id)
        return machine

    def _load(self) -> CloudState:
        with _file_errors():
            return _decoded(_read_text(self._path))

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[CloudState]:
        """Lend the state for a change and write it back, under the lock; an error inside leaves the file as it was."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + LOCK_WAIT_S
        with _file_errors(), _opened_lock(self._path.with_suffix(".lock")) as lock:
            while not _try_lock(lock):
                if loop.time() >= deadline_s:
                    raise TimeoutError("it is in use by another process")
                await asyncio.sleep(LOCK_RETRY_S)
            before = _read_text(self._path)
            state = _decoded(before)
            yield state
            state.tidy(self._clock.now_ms())
            after = json.dumps(state.to_json(), separators=(",", ":"))
            if after != before:
                _replace_text(self._path, after)


def _refuse(state: CloudState, request: CreateRequest, wanted: float, now_ms: Ms) -> bool:
    """Say whether MOCK_NO_CAPACITY refuses this create, and keep count. A create sent again gets the same answer."""
    workload = _workload_name(request)
    refusals = state.refusals.get(workload)
    if refusals is None or now_ms - refusals.last_ms > ROUND_MS:
        refusals = Refusals((), now_ms)
    if request.idempotency_key in refusals.keys:
        return True
    if len(refusals.keys) >= wanted:
        state.refusals.pop(workload, None)
        return False
    state.refusals[workload] = Refusals((*refusals.keys, request.idempotency_key), now_ms)
    return True


def _workload_name(request: CreateRequest) -> str:
    """Return a name that the attempts of one job share. Labels of one profile differ in their last part only."""
    knobs = sorted((name, value) for name, value in request.env.items() if name.startswith("MOCK_"))
    words = [request.label.rpartition("-")[0], request.image, request.command, knobs]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


def _refusals_wanted(env: Mapping[str, str]) -> float:
    text = env.get("MOCK_NO_CAPACITY", "").strip().lower() or "0"
    if text == "all":
        return math.inf
    if not text.isdecimal():
        raise _rejected(f'MOCK_NO_CAPACITY is {text!r}; it takes a whole number or "all".', "env")
    return int(text)


def _boot_s(env: Mapping[str, str]) -> float:
    text = env.get("MOCK_BOOT_S", "").strip() or str(BOOT_S)
    try:
        boot_s = float(text)
    except ValueError:
        boot_s = math.nan
    if not 0 <= boot_s <= MAX_BOOT_S:
        raise _rejected(f"MOCK_BOOT_S is {text!r}; it takes seconds, at most a day.", "env")
    return boot_s


def _agreed_price(listing: Listing, request: CreateRequest, now_ms: Ms) -> MicroUsdPerHour:
    """Return the price of the hour, or of the hour before where that was the one quoted: a quote holds that long."""
    previous = price_at(listing, now_ms - HOUR_MS)
    return previous if request.offer.price_micro_usd_per_hour == previous else price_at(listing, now_ms)


def _rejected(message: str, field: str) -> Rejected:
    return Rejected(message, field=field, provider=PROVIDER, operation="create")


def _gone(what: str, item_id: str) -> Gone:
    return Gone(f"The mock cloud has no {what} {item_id!r}.", provider=PROVIDER)


@contextmanager
def _file_errors() -> Iterator[None]:
    """Turn what goes wrong with the file into errors of a provider; nothing was made then."""
    try:
        yield
    except OSError as error:
        raise Transient(
            f"The mock cloud's file cannot be used: {error.strerror or error}.", provider=PROVIDER, may_exist=False
        ) from error


def _decoded(text: str) -> CloudState:
    if not text:
        return CloudState()
    try:
        return CloudState.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(
            f"The mock cloud's file, {FILE_NAME}, is damaged or of another version.",
            provider=PROVIDER,
            may_exist=False,
            hint="Remove it from the state folder to start with an empty mock cloud.",
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


@contextmanager
def _opened_lock(path: Path) -> Iterator[int]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
