"""One profile, opened: everything a view may ask or wish for, on one object.

A view reads the store and writes wishes; it never creates or terminates a machine. Free calls that a person waits for
(offers, balances, what exists) are made here through the provider clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gputui.core import agent_link, catalog, intake, mounts, reports, volume_wishes
from gputui.core import sweep as sweeps
from gputui.core.accounts import Accounts, KeySource
from gputui.core.alarms import FREE_DISK_HINT, current_alarms, free_disk_problem
from gputui.core.asking import ask_all
from gputui.core.routing import Plan
from gputui.local.clock import SystemClock
from gputui.local.config import Config, load_config
from gputui.local.paths import Paths, paths_for
from gputui.local.secrets import Secrets
from gputui.model.clock import Clock
from gputui.model.errors import AuthError, GputuiError, GuardRefused, NotFoundError, UsageError
from gputui.model.ids import ULID_LENGTH, Ids
from gputui.model.states import JobStatus
from gputui.model.types import Balance, Event, Job, JobSpec, Machine, Offer, Placement, Volume
from gputui.model.units import MicroUsd
from gputui.model.volumes import VolumeOrder
from gputui.providers.registry import PROVIDERS
from gputui.store import findings as finding_store
from gputui.store import jobs as job_store
from gputui.store import offers as offer_store
from gputui.store import volumes as volume_store
from gputui.store import wishes as wish_store
from gputui.store.alarms import Alarm
from gputui.store.db import Store, open_store
from gputui.store.findings import Finding

if TYPE_CHECKING:
    from gputui.providers.base import Provider


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A machine that exists at a provider, and the placement of ours it belongs to (None: a stranger, or lost)."""

    machine: Machine
    placement: Placement | None
    is_ours: bool


class Desk:
    """A profile with its store, configuration, keys and accounts. Belongs to the thread that opened it; close it."""

    def __init__(
        self,
        *,
        paths: Paths,
        config: Config,
        secrets: Secrets,
        store: Store,
        clock: Clock,
        accounts: Accounts,
        environ: Mapping[str, str],
        agent_is_here: bool = False,
    ) -> None:
        self.paths = paths
        self.config = config
        self.secrets = secrets
        self.store = store
        self.clock = clock
        self.ids = Ids(clock)
        self.accounts = accounts
        self.environ = environ
        self.agent_is_here = agent_is_here

    @classmethod
    def open(cls, profile: str | None = None, *, environ: Mapping[str, str] | None = None) -> Desk:
        """Open a profile for a view. Raises ConfigError, StoreError, UsageError."""
        environ = os.environ if environ is None else environ
        paths = paths_for(profile)
        paths.ensure()
        config = load_config(paths, known_providers=PROVIDERS)
        secrets = Secrets(paths, environ=environ)
        return cls.assemble(paths, config, secrets=secrets, keys=secrets, clock=SystemClock(), environ=environ)

    @classmethod
    def assemble(
        cls,
        paths: Paths,
        config: Config,
        *,
        secrets: Secrets,
        keys: KeySource,
        clock: Clock,
        environ: Mapping[str, str],
        transports: Mapping[str, Any] | None = None,
        agent_is_here: bool = False,
    ) -> Desk:
        """Put a desk together from given parts: the demo and tests bring their own clock, keys and transports."""
        accounts = Accounts(
            config=config,
            keys=keys,
            clock=clock,
            state_dir=paths.state_dir,
            environ=environ,
            transports=transports,
        )
        return cls(
            paths=paths,
            config=config,
            secrets=secrets,
            store=open_store(paths.database),
            clock=clock,
            accounts=accounts,
            environ=environ,
            agent_is_here=agent_is_here,
        )

    def close(self) -> None:
        """Close the store. Connections to providers are closed by `aclose`, on the loop that used them."""
        self.store.close()

    async def aclose(self) -> None:
        await self.accounts.aclose()

    # The market

    def client(self, name: str) -> Provider:
        """Return a provider's client. Raises NotFoundError, AuthError when there is no key."""
        return self.accounts.client(name)

    async def refresh(self, providers: Sequence[str] | None = None) -> list[catalog.RefreshOutcome]:
        """Fetch offers side by side and keep them; see `catalog.refresh`."""
        return await catalog.refresh(self.store, self.accounts, self.clock, providers=providers)

    def stale_providers(self, max_age_s: float | None = None) -> list[str]:
        """Return the usable providers whose offers are older than the configured age."""
        age_s = self.config.offers.max_age_s if max_age_s is None else max_age_s
        return catalog.stale_providers(self.store, self.accounts, now_ms=self.clock.now_ms(), max_age_s=age_s)

    def prices(self, gpu: str | None = None) -> list[catalog.PriceRow]:
        """Return the pricing matrix from the store, every provider with rows included."""
        return catalog.price_matrix(self.store, gpu=gpu)

    def offers(self, *, gpu: str | None = None, provider: str | None = None, limit: int | None = None) -> list[Offer]:
        """Return stored offers, cheapest first."""
        return catalog.load_offers(self.store, gpu=gpu, provider=provider, limit=limit)

    def provider_statuses(self) -> dict[str, offer_store.ProviderStatus]:
        """Return how each provider's last refresh went."""
        return offer_store.load_statuses(self.store)

    def checked(self, spec: JobSpec) -> JobSpec:
        """Return the spec tidied, its provider usable. Raises UsageError, AuthError."""
        spec = intake.validated(spec, gpus_on_offer=offer_store.known_gpus(self.store))
        if spec.provider is not None:
            account = self.accounts.account(spec.provider)
            if account.problem is not None:
                raise AuthError(f"{account.label}: {account.problem}", provider=spec.provider)
        return spec

    def plan(self, spec: JobSpec, volumes: Sequence[Volume] = ()) -> Plan:
        """Return what would be chosen for a job and why every other offer lost, without spending anything.

        `volumes` are those the job names, as `find_volumes` found them.
        """
        return catalog.plan(self.store, self.accounts, self.checked(spec), volumes=volumes)

    async def find_volumes(self, spec: JobSpec) -> tuple[Volume, ...]:
        """Return the volumes that a job names. Raises NotFoundError, UsageError, ProviderError."""
        if spec.provider is None or not spec.volumes:
            return ()
        return await mounts.find_volumes(self.client(spec.provider), spec, self.store)

    # Jobs

    def submit(self, spec: JobSpec, *, on_kept: Callable[[Job], None] = lambda _: None) -> Job:
        """Write a job for the agent to run and make sure the agent is there. `on_kept` is told once it is written.

        Raises UsageError, AuthError, GuardRefused when the disk has no room for it, AgentError. When AgentError is raised
        the job is kept, queued; any later command starts the agent again.
        """
        spec = self.checked(spec)
        if problem := free_disk_problem(self.paths, self.config):
            raise GuardRefused(problem, hint=FREE_DISK_HINT)
        job_id = self.ids.ulid()
        job = Job(
            id=job_id,
            spec=spec,
            status=JobStatus.QUEUED,
            phase="waiting for the agent",
            created_at_ms=self.clock.now_ms(),
            name=spec.name or intake.default_name(spec, job_id),
        )
        with self.store.write() as tx:
            job_store.insert_job(tx, job)
            job_store.add_event(
                tx, at_ms=job.created_at_ms, job_id=job.id, kind="job", state_to=job.status.value, why="submitted"
            )
        on_kept(job)
        self.ensure_agent()
        return job

    def jobs(self, *, limit: int = 200, status: Iterable[JobStatus] | None = None) -> list[reports.JobReport]:
        """Return jobs, newest first, with what they cost so far."""
        return reports.report_jobs(self.store, now_ms=self.clock.now_ms(), limit=limit, status=status)

    def job(self, reference: str) -> reports.JobReport:
        """Return the job a person means: by id, by the beginning or end of an id, or by name (the newest of that name).

        Raises NotFoundError, UsageError when several ids fit.
        """
        found = job_store.find_jobs(self.store, reference) if reference.strip() else []
        if not found:
            raise NotFoundError(f"There is no job {reference!r}.", hint="See: gputui jobs list")
        named = [job for job in found if job.name == reference]
        if len(found) > 1 and not named:
            ids = ", ".join(job.id[-8:] for job in found)
            raise UsageError(f"{reference!r} fits several jobs: {ids}.", hint="Give more of the id.")
        report = reports.report_job(self.store, (named or found)[0].id, now_ms=self.clock.now_ms())
        if report is None:
            raise NotFoundError(f"There is no job {reference!r}.")
        return report

    def events(self, job_id: str, *, after_id: int = 0) -> list[Event]:
        """Return a job's timeline, oldest first."""
        return job_store.load_events(self.store, job_id, after_id=after_id)

    def placements(self, job_id: str) -> list[Placement]:
        """Return every attempt to run a job, first attempt first."""
        return job_store.load_placements(self.store, job_id)

    def log_path(self, job_id: str) -> Path:
        """Return where a job's log is kept; it may not exist yet and stays after the machine is gone."""
        return self.paths.logs_dir / f"{job_id}.log"

    def request_stop(self, reference: str) -> Job:
        """Wish that a job be stopped; the agent acts. Stopping a job that is over, or twice, changes nothing."""
        job = self.job(reference).job
        now_ms = self.clock.now_ms()
        with self.store.write() as tx:
            changed = tx.execute(
                "UPDATE jobs SET stop_requested_at_ms = ? WHERE id = ? AND stop_requested_at_ms IS NULL "
                "AND status IN ('queued', 'provisioning', 'running')",
                (now_ms, job.id),
            )
            if changed:
                job_store.add_event(tx, at_ms=now_ms, job_id=job.id, kind="wish", why="stop asked for")
        if not job.status.is_final:
            self.ensure_agent()
        return self.job(job.id).job

    # Machines

    async def machines(self) -> tuple[list[MachineRow], Mapping[str, GputuiError]]:
        """Ask every account that may have any what is alive; returns the machines and why some could not be asked."""
        names = sweeps.to_look_through(self.store, self.accounts)
        asked = await ask_all(self.accounts, names, lambda client: client.list_machines())
        rows = []
        for name, machines in asked.answers.items():
            placements = job_store.load_placements_by_machine(self.store, name)
            for machine in machines:
                if machine.state.is_gone:
                    continue
                placement = placements.get(machine.id)
                is_ours = placement is not None or self._is_our_label(machine.label or "")
                rows.append(MachineRow(machine, placement, is_ours))
        return rows, asked.problems

    def _is_our_label(self, label: str) -> bool:
        """True for a label that this profile gave: ours end in a ULID, and "a" must not claim what "a-b" made."""
        return label[:-ULID_LENGTH] == f"gputui-{self.paths.profile}-"

    def request_termination(self, machine: Machine) -> None:
        """Wish that a machine be gone; the agent repeats the deletion until the provider's own list agrees.

        A machine of a live job is ended by stopping the job, so that its log and cost are closed properly.
        """
        placement = job_store.load_placements_by_machine(self.store, machine.provider).get(machine.id)
        if placement is not None and not placement.state.is_final:
            self.request_stop(placement.job_id)
            return
        with self.store.write() as tx:
            wish_store.wish_termination(
                tx,
                wish_id=self.ids.ulid(),
                provider=machine.provider,
                machine_id=machine.id,
                label=machine.label,
                now_ms=self.clock.now_ms(),
                key_print=self.accounts.fingerprint(machine.provider),
            )
        self.ensure_agent()

    def adopt(self, machine: Machine, *, max_duration_s: int | None = None) -> Job:
        """Take a lost machine back as a job of its own, which the agent watches over. Raises GuardRefused, AgentError."""
        from gputui.core.adoption import adopt  # what only an agent needs otherwise

        job = adopt(
            self.store,
            machine,
            clock=self.clock,
            ids=self.ids,
            profile=self.paths.profile,
            key_print=self.accounts.fingerprint(machine.provider),
            max_duration_s=max_duration_s,
        )
        self.ensure_agent()
        return job

    def termination(self, machine: Machine | Finding) -> wish_store.Termination | None:
        """Return how the newest wish to end a machine is going."""
        return wish_store.load_termination(self.store, machine.provider, machine.id)

    # Sweeps and alarms

    async def sweep(self) -> sweeps.Swept:
        """Look through every usable account for what no job accounts for, and keep what was found; free of charge."""
        return await sweeps.sweep(self.store, self.accounts, self.clock, profile=self.paths.profile)

    def findings(self) -> list[Finding]:
        """Return what the last sweeps found and is still there, dearest first."""
        return finding_store.load_open_findings(self.store)

    def swept(self) -> Mapping[str, finding_store.SweptProvider]:
        """Return how the last sweep of each provider went."""
        return finding_store.load_swept(self.store)

    def terminate_lost(self) -> list[Finding]:
        """Wish that every machine that sweeps have confirmed as lost be gone; returns them. Raises AgentError."""
        lost = sweeps.wish_lost_gone(self.store, self.accounts, self.clock, self.ids)
        if lost:
            self.ensure_agent()
        return lost

    def alarms(self) -> list[Alarm]:
        """Return what costs money and needs the user now, most urgent first; read from the store."""
        return current_alarms(
            self.store,
            self.paths,
            self.config,
            agent=None if self.agent_is_here else self.agent_state(),
            burn=self.burn(),
            now_ms=self.clock.now_ms(),
        )

    def vouch_for_key(self, provider: str) -> int:
        """Say that the present key is of the account in which our machines at a provider were ordered.

        Returns how many machines that concerns. Only a person can know it where the provider does not tell.
        """
        with self.store.write() as tx:
            return job_store.vouch_for_keys(tx, provider)

    # Volumes

    async def volumes(
        self, providers: Sequence[str] = ()
    ) -> tuple[list[volume_wishes.VolumeRow], Mapping[str, GputuiError]]:
        """Ask the accounts named, or every usable one, for volumes; returns them and why some could not be asked."""
        return await volume_wishes.list_volumes(self.store, self.accounts, providers)

    async def volume_quote(
        self, provider: str, *, size_gib: int | None, region: str, kind: str | None = None
    ) -> MicroUsd | None:
        """Return what a volume would cost a month, None where the provider does not tell; see `volume_wishes.quote`."""
        return await volume_wishes.quote(self.accounts, provider, size_gib=size_gib, region=region, kind=kind)

    def request_volume(
        self,
        provider: str,
        name: str,
        *,
        size_gib: int | None,
        region: str,
        kind: str | None = None,
        shown: MicroUsd | None = None,
    ) -> VolumeOrder:
        """Wish for a volume, which costs money until it is deleted; the agent makes it, once.

        `shown` is the price a month that its user agreed to; the order's `error` tells of a volume that turns out dearer.
        Raises UsageError, NotSupported, AuthError, AgentError; after AgentError the wish is kept.
        """
        order = volume_wishes.order_creation(
            self.store,
            self.accounts,
            self.clock,
            self.ids,
            provider=provider,
            name=name,
            size_gib=size_gib,
            region=region,
            kind=kind,
            shown=shown,
        )
        self.ensure_agent()
        return order

    def request_volume_deletion(self, row: volume_wishes.VolumeRow) -> VolumeOrder:
        """Wish that a volume and all that is on it be gone; the agent repeats the deletion until it is. Raises AgentError."""
        order = volume_wishes.order_deletion(self.store, self.accounts, self.clock, self.ids, row)
        self.ensure_agent()
        return order

    def volume_order(self, order_id: str) -> VolumeOrder:
        """Return how an order of a volume is going. Raises NotFoundError."""
        order = volume_store.load_order(self.store, order_id)
        if order is None:
            raise NotFoundError(f"There is no volume order {order_id}.")
        return order

    def volume_orders(self, *, limit: int = 200) -> list[VolumeOrder]:
        """Return orders of volumes, newest first, open or over."""
        return volume_store.load_orders(self.store, limit=limit)

    # Money

    def burn(self) -> reports.Burn:
        """Return what is being paid right now."""
        return reports.burn(self.store, now_ms=self.clock.now_ms())

    def usage(self, *, since_ms: int) -> list[reports.UsageRow]:
        """Return what each job cost that billed since a moment."""
        return reports.usage_rows(self.store, since_ms=since_ms, now_ms=self.clock.now_ms())

    async def balances(self) -> tuple[list[Balance], Mapping[str, GputuiError]]:
        """Ask every usable account that tells its balance."""
        from gputui.providers.base import capabilities_of
        from gputui.providers.registry import client_class

        able = [name for name in self.accounts.usable() if capabilities_of(client_class(name))["balance"]]
        asked = await ask_all(self.accounts, able, lambda client: client.fetch_balance())
        return list(asked.answers.values()), asked.problems

    # The agent

    def agent_state(self) -> agent_link.AgentState:
        """Return whether an agent watches this profile."""
        return agent_link.agent_state(self.store, self.paths, now_ms=self.clock.now_ms())

    def ensure_agent(self) -> None:
        """Make sure an agent runs and knows our keys. Raises AgentError."""
        if not self.agent_is_here:
            agent_link.ensure_agent(self.store, self.paths, self.accounts, self.clock, self.environ)

    def guard(self) -> None:
        """Start the agent when something is alive and nobody watches it; free when all is well. Raises AgentError."""
        if self.agent_is_here:
            return
        wishes = wish_store.load_open_terminations(self.store) or volume_store.load_open_orders(self.store)
        alive = job_store.count_alive_jobs(self.store) or wishes
        if alive and self.agent_state().condition is agent_link.AgentCondition.NONE:
            self.ensure_agent()
