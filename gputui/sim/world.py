"""A small model of clouds: accounts, capacity, machines whose state is a function of time, and what they truly cost.

The world knows no provider's wire format; each provider's simulator speaks its own over it. Time comes from the clock
handed in and randomness from the seed, so under virtual time one seed is one history. Nothing runs in the background:
whatever should have happened meanwhile (a death, a machine deleted for lack of balance) follows from the records when
somebody looks.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gputui.model.clock import Clock
from gputui.model.errors import ShellError
from gputui.sim.billing import BillingTerms
from gputui.sim.catalogue import Catalogue, InstanceType
from gputui.sim.faults import Faults
from gputui.sim.lives import ENDED, Life
from gputui.sim.machine import SimMachine

if TYPE_CHECKING:
    from gputui.model.shell import Shell
    from gputui.sim.shell import SimHost

KEY_PREFIX = "sim-"


class OutOfCapacity(Exception):
    """Nothing of that type is free in that region."""


class WrongState(Exception):
    """The machine's state forbids that action."""


@dataclass(slots=True)
class Account:
    """A customer of one provider. `credit_usd` is everything ever paid in.

    One that is not prepaid gets invoices, so its machines live on without balance. `other_usd` tells what it owes at a moment
    beside its machines, for storage say.
    """

    id: str
    provider: str
    credit_usd: Decimal
    created_ms: int
    machines: list[SimMachine] = field(default_factory=list)
    settled_until_ms: int = 0
    is_prepaid: bool = True
    other_usd: Callable[[int], Decimal] = lambda now_ms: Decimal(0)


@dataclass(frozen=True, slots=True)
class Order:
    """What an account asks for. `operation` names the call, for faults; `details` is kept for the provider's answers.

    `machine_id` is the machine's id where the provider's ids are no UUIDs. The times are those of `BillingTerms`.
    `units` is how much of the type's capacity it takes. `usd_per_hour` is the price where it is not the type's list price;
    `billing_start` and `charges_offline` None leave that to the knobs; `charges_failed` is that of `BillingTerms`.
    """

    account: Account
    instance_type: str
    region: str
    label: str
    operation: str
    authorized_keys: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    minimum_s: int = 0
    tick_s: int = 600
    granularity_s: int = 1
    machine_id: str | None = None
    units: int = 1
    usd_per_hour: Decimal | None = None
    billing_start: str | None = None
    released_usd_per_hour: Decimal = Decimal(0)
    idle_usd_per_hour: Decimal | None = None
    charges_offline: bool | None = None
    charges_failed: bool = True


class World:
    """Everything that exists in one simulation.

    `boot_s` is about how long a machine takes from its order to running. `requests` counts what the providers' APIs were
    asked. `reserve_endpoint`, where set, gives a new machine's address as (ip, SSH port). `when_unpaid`, by provider, is what
    happens to an account without balance, where that is not the deletion of its machines at a billing tick. `own_ends`, by
    provider, tells when a machine had itself deleted, where that is not told by what a shell put there.
    """

    def __init__(self, clock: Clock, seed: int, boot_s: float = 3.0) -> None:
        self.clock = clock
        self.seed = seed
        self.boot_s = boot_s
        self.faults = Faults(seed)
        self.requests = 0
        self.reserve_endpoint: Callable[[], tuple[str, int]] | None = None
        self.when_unpaid: dict[str, Callable[[Account, int], None]] = {}
        self.own_ends: dict[str, Callable[[SimMachine, int], int | None]] = {}
        self.machines: dict[str, SimMachine] = {}
        self.catalogues: dict[str, Catalogue] = {}
        self._settled_ms = -1
        self._accounts: dict[tuple[str, str], Account] = {}
        self._hosts: dict[str, SimHost] = {}
        self._id_random = random.Random(f"ids:{seed}")
        self._life_random = random.Random(f"lives:{seed}")

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def new_id(self) -> str:
        """Return a new UUID, the same for the same seed and history."""
        return str(uuid.UUID(int=self._id_random.getrandbits(128), version=4))

    def new_hex(self, length: int) -> str:
        """Return `length` hexadecimal characters, the same for the same seed and history."""
        return f"{self._id_random.getrandbits(4 * length):0{length}x}"

    def catalogue(self, provider: str, types: Iterable[InstanceType] = ()) -> Catalogue:
        """Return a provider's catalogue, making it with `types` on first use."""
        if provider not in self.catalogues:
            self.catalogues[provider] = Catalogue(provider, self.seed)
            self.catalogues[provider].add(types)
        return self.catalogues[provider]

    # Accounts

    def account(self, provider: str, key: str) -> Account | None:
        """Return the account of a key, made on first sight for a key that begins with `sim-`; None for any other."""
        if (provider, key) not in self._accounts:
            if not key.startswith(KEY_PREFIX):
                return None
            credit_usd = Decimal(str(self.faults.number("starting_credit_usd")))
            self._accounts[provider, key] = Account(self.new_id(), provider, credit_usd, self.now_ms())
        return self._accounts[provider, key]

    def add_credit(self, account: Account, usd: Decimal | str) -> None:
        """Pay in (or, with a negative amount, take away)."""
        account.credit_usd += Decimal(usd)

    def balance_usd(self, account: Account) -> Decimal:
        """Return what is left of an account's credit after everything drawn so far, to the nano-dollar."""
        self.settle()
        return self._balance_at(account, self.now_ms())

    # Market

    def list_price_usd(self, provider: str, instance_type: str) -> Decimal:
        """Return the price now on offer, dollars per hour."""
        drift = self.faults.number("price_drift")
        return self.catalogues[provider].list_price_usd(instance_type, self.now_ms(), drift)

    def free(self, provider: str, instance_type: str, region: str) -> int:
        """Return how many more machines of a type can be ordered in a region now."""
        self.settle()
        now_ms = self.now_ms()
        churn = self.faults.number("market_churn")
        capacity = self.catalogues[provider].capacity_of(instance_type, region, now_ms, churn)
        held = sum(
            machine.units
            for machine in self.machines.values()
            if machine.provider == provider
            and machine.region == region
            and machine.instance.name == instance_type
            and machine.holds_capacity(now_ms)
        )
        return max(0, capacity - held)

    # Machines

    def order(self, order: Order) -> SimMachine:
        """Make a machine, with its whole life planned. Raises OutOfCapacity, in which case there is none."""
        faults, operation, provider = self.faults, order.operation, order.account.provider
        free = self.free(provider, order.instance_type, order.region)
        if faults.fires("no_capacity", operation) or free < order.units:
            raise OutOfCapacity(f"no capacity for {order.instance_type} in {order.region}")
        now_ms = self.now_ms()
        price = order.usd_per_hour
        if price is None:
            price = self.list_price_usd(provider, order.instance_type)
        if faults.fires("price_surprise", operation):
            price *= Decimal(str(faults.number("price_surprise_factor")))
        charges_offline = order.charges_offline
        if charges_offline is None:
            charges_offline = faults.flag("offline_billing")
        ip, ssh_port = self._endpoint()
        machine = SimMachine(
            id=order.machine_id or self.new_id(),
            provider=provider,
            account_id=order.account.id,
            label=order.label,
            instance=self.catalogues[provider].types[order.instance_type],
            region=order.region,
            created_ms=now_ms,
            terms=BillingTerms(
                start=order.billing_start or faults.choice("billing_start"),
                minimum_s=order.minimum_s,
                tick_s=order.tick_s,
                granularity_s=order.granularity_s,
                charges_offline=charges_offline,
                charges_failed=order.charges_failed,
                released_usd_per_hour=order.released_usd_per_hour,
                idle_usd_per_hour=order.idle_usd_per_hour,
            ),
            units=order.units,
            prices=[(now_ms, price)],
            timeline=[],
            ip=ip,
            ssh_port=ssh_port,
            ssh_delay_ms=None if faults.fires("ssh_never", operation) else self._knob_ms("ssh_after_s"),
            authorized_keys=order.authorized_keys,
            details=dict(order.details),
        )
        self._plan_life(machine, operation)
        self.machines[machine.id] = machine
        order.account.machines.append(machine)
        return machine

    def delete(self, machine: SimMachine, operation: str) -> None:
        """Ask for a machine's deletion. Accepted in any state, again while it goes on; may be stuck by a fault."""
        now_ms = self.now_ms()
        if machine.life(now_ms) is Life.DELETING or not machine.is_alive(now_ms):
            return
        if self.faults.fires("stuck_terminate", operation):
            machine.hidden_until_ms = now_ms + self._knob_ms("stuck_hides_s")
            return
        self._delete_at(machine, now_ms)

    def _delete_at(self, machine: SimMachine, at_ms: int) -> None:
        gone_ms = at_ms + self._knob_ms("delete_s")
        machine.replan(at_ms, (at_ms, Life.DELETING), (gone_ms, Life.DELETED))
        machine.billing_stop_ms = at_ms if self.faults.choice("billing_stop") == "requested" else gone_ms

    def power_off(self, machine: SimMachine, *, releases: bool = False) -> None:
        """Stop a running machine; a moment later it is offline, or released and its hardware free. Raises WrongState."""
        now_ms = self._expect(machine, Life.RUNNING)
        machine.replan(now_ms, (now_ms + self._knob_ms("power_s"), Life.RELEASED if releases else Life.OFFLINE))

    def power_on(self, machine: SimMachine) -> None:
        """Start a machine that is off; it runs a moment later. Raises WrongState, or OutOfCapacity for a released one."""
        now_ms = self._expect(machine, Life.OFFLINE, Life.RELEASED)
        if machine.life(now_ms) is Life.RELEASED:
            if self.free(machine.provider, machine.instance.name, machine.region) < machine.units:
                raise OutOfCapacity(f"no capacity for {machine.instance.name} in {machine.region}")
            machine.replan(now_ms, (now_ms, Life.OFFLINE))
        machine.replan(now_ms, (now_ms + self._knob_ms("power_s"), Life.RUNNING))

    def readdress(self, machine: SimMachine) -> None:
        """Give a machine that is off another address for when it runs again."""
        machine.ip, machine.ssh_port = self._endpoint()

    def restart(self, machine: SimMachine) -> None:
        """Take a running machine offline and back. Raises WrongState."""
        now_ms = self._expect(machine, Life.RUNNING)
        machine.replan(now_ms, (now_ms, Life.OFFLINE), (now_ms + self._knob_ms("power_s"), Life.RUNNING))

    def kill(self, machine_id: str, died_as: str = "offline") -> None:
        """Make a machine die now, as "offline", "error", "vanish" or "released". Nothing undoes a deletion that has begun."""
        machine = self.machines[machine_id]
        if machine.life(self.now_ms()) not in (Life.DELETING, *ENDED):
            self._plan_death(machine, self.now_ms(), died_as)

    def reprice(self, machine_id: str, usd_per_hour: Decimal | str) -> None:
        """Change a machine's own price from now on."""
        self.machines[machine_id].prices.append((self.now_ms(), Decimal(usd_per_hour)))

    def is_readable(self, machine: SimMachine) -> bool:
        """Say whether the provider knows a machine by its id now."""
        now_ms = self.now_ms()
        if now_ms < machine.created_ms + self._knob_ms("eventual_get_s") or machine.is_vanished(now_ms):
            return False
        if now_ms < machine.hidden_until_ms:
            return False
        ended_ms = machine.ended_ms(now_ms)
        return ended_ms is None or now_ms < ended_ms + self._knob_ms("deleted_readable_s")

    def listed_life(self, machine: SimMachine) -> Life | None:
        """Return the state a machine has in a list, None when a list leaves it out because it is too new or vanished."""
        now_ms = self.now_ms()
        if now_ms < machine.created_ms + self._knob_ms("eventual_list_s") or machine.is_vanished(now_ms):
            return None
        if now_ms < machine.hidden_until_ms:
            return None
        life = machine.life(now_ms)
        if life is Life.DELETED and now_ms < machine.since_ms(now_ms) + self._knob_ms("deleted_still_listed_s"):
            return next(life for _, life in reversed(machine.timeline) if life not in (Life.DELETED, Life.DELETING))
        return life

    def answers_ssh(self, machine_id: str) -> bool:
        """Say whether a machine's sshd accepts a login now."""
        self.settle()
        machine = self.machines.get(machine_id)
        return machine is not None and machine.answers_ssh(self.now_ms())

    def host(self, machine_id: str) -> SimHost | None:
        """Return a machine's disk and processes, None when nobody ever logged in to it in-process."""
        return self._hosts.get(machine_id)

    async def open_shell(self, machine_id: str) -> Shell:
        """Return an in-process shell on a machine. Raises ShellError when its sshd would not answer."""
        from gputui.sim.shell import SimHost, SimShell

        if not self.answers_ssh(machine_id):
            raise ShellError(f"The simulated machine {machine_id} does not answer SSH.")
        if machine_id not in self._hosts:
            self._hosts[machine_id] = SimHost(environ=self.machines[machine_id].environ)
        return SimShell(self._hosts[machine_id], self.clock, lambda: self.answers_ssh(machine_id))

    # Money over time

    def settle(self) -> None:
        """Carry out what befell machines since anybody last looked, at the moments where it happened: those that had
        themselves deleted, and what lack of balance did."""
        now_ms = self.now_ms()
        if now_ms == self._settled_ms:
            return
        self._settled_ms = now_ms
        self._end_themselves(now_ms)
        deletes = self.faults.choice("low_balance_action") == "delete"
        for account in self._accounts.values():
            if deletes and account.is_prepaid and self._owes_it_all(account, now_ms):
                self.when_unpaid.get(account.provider, self._delete_unpaid)(account, now_ms)
            account.settled_until_ms = now_ms

    def _end_themselves(self, now_ms: int) -> None:
        if not self.faults.flag("own_key_works"):
            return
        for machine in self.machines.values():
            if not machine.environ or not machine.is_alive(now_ms):
                continue
            own_end = self.own_ends.get(machine.provider, self._ended_by_its_harness)
            at_ms = own_end(machine, now_ms)
            if at_ms is not None and machine.life(at_ms) is Life.RUNNING:
                self._delete_at(machine, at_ms)

    def _ended_by_its_harness(self, machine: SimMachine, now_ms: int) -> int | None:
        host = self._hosts.get(machine.id)
        return host.ended_itself_ms(now_ms) if host else None

    def _owes_it_all(self, account: Account, now_ms: int) -> bool:
        other_usd = account.other_usd(now_ms)
        if sum((machine.at_most_usd(now_ms) for machine in account.machines), other_usd) < account.credit_usd:
            return False  # no need to reckon exactly, which takes its time
        return sum((machine.bill_usd(now_ms) for machine in account.machines), other_usd) >= account.credit_usd

    def _delete_unpaid(self, account: Account, now_ms: int) -> None:
        at_ms = account.settled_until_ms
        while True:
            ticks = [(tick, m) for m in account.machines if (tick := m.next_tick_ms(at_ms, now_ms)) is not None]
            if not ticks:
                return
            at_ms = min(tick for tick, _ in ticks)
            if self._balance_at(account, at_ms) > 0:
                continue
            for tick_ms, machine in ticks:
                if tick_ms == at_ms and machine.is_alive(at_ms):
                    machine.replan(at_ms, (at_ms, Life.DELETED))
                    machine.billing_stop_ms = at_ms

    def _balance_at(self, account: Account, at_ms: int) -> Decimal:
        drawn = sum((machine.settled_usd(at_ms) for machine in account.machines), account.other_usd(at_ms))
        return account.credit_usd - drawn

    # How lives go

    def _plan_life(self, machine: SimMachine, operation: str) -> None:
        faults = self.faults
        boot_ms = round(self.boot_s * 1000 * self._life_random.uniform(0.8, 1.2))
        provisioning_ms = machine.created_ms + boot_ms // 8
        booted_ms = machine.created_ms + boot_ms
        if faults.fires("slow_provisioning", operation):
            booted_ms += self._knob_ms("slow_provisioning_s")
        machine.timeline = [(machine.created_ms, Life.ORDERED), (provisioning_ms, Life.PROVISIONING)]
        if faults.fires("no_capacity_after_accept", operation):
            machine.timeline.append((booted_ms, Life.NO_CAPACITY))
        elif faults.fires("provisioning_error", operation):
            machine.timeline.append((booted_ms, Life.ERROR))
        else:
            machine.timeline.append((booted_ms, Life.RUNNING))
            if faults.fires("dies", operation):
                self._plan_death(machine, booted_ms + self._knob_ms("dies_after_s"), faults.choice("dies_as"))

    def _plan_death(self, machine: SimMachine, at_ms: int, died_as: str) -> None:
        life = {
            "offline": Life.OFFLINE,
            "error": Life.ERROR,
            "vanish": Life.DELETED,
            "released": Life.RELEASED,
        }[died_as]
        machine.replan(at_ms, (at_ms, life))
        machine.vanishes_ms = at_ms if died_as == "vanish" else None

    def _expect(self, machine: SimMachine, *lives: Life) -> int:
        now_ms = self.now_ms()
        if machine.life(now_ms) not in lives:
            wanted = " or ".join(life.value for life in lives)
            raise WrongState(f"needs a machine that is {wanted}, this one is {machine.life(now_ms).value}")
        return now_ms

    def _endpoint(self) -> tuple[str, int | None]:
        if self.reserve_endpoint is not None:
            return self.reserve_endpoint()
        return f"203.0.113.{1 + len(self.machines) % 254}", None

    def _knob_ms(self, name: str) -> int:
        return round(self.faults.number(name) * 1000)
