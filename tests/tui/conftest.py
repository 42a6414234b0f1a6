"""A profile in a temporary folder, filled through the store's own functions, under a clock that stands still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from textual import pilot
from textual.notifications import Notification

from gputui.core.accounts import HandedKeys
from gputui.core.desk import Desk
from gputui.local.config import Config, ProviderConfig
from gputui.local.paths import Paths
from gputui.local.secrets import Secrets
from gputui.model.states import JobStatus, PlacementState
from gputui.model.types import Job, JobSpec, Offer, Placement, Stock
from gputui.providers.registry import PROVIDERS
from gputui.store import jobs as job_store
from gputui.store import offers as offer_store
from gputui.store import usage as usage_store
from gputui.tui.app import GputuiApp

# The tests are no package; this lets them share `quiet`.
sys.path.insert(0, str(Path(__file__).parent))
from quiet import until_handled, until_quiet, until_screen_is_quiet

# 2026-03-14 15:09:26 UTC
NOW_MS = 1_773_500_966_000
MINUTE_MS = 60_000
FAKE_KEY = "fake-key-for-tests"


class StandingClock:
    """Time that moves only when a test says so."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


def two_providers(config: Config) -> Config:
    """Return the configuration with all but two providers switched off, so that the pictures stay when one is added."""
    off = {name: ProviderConfig(enabled=False) for name in PROVIDERS if name not in ("huddle", "mock")}
    return replace(config, providers={**off, **config.providers})


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSH_CONNECTION", "NO_COLOR", "GPUTUI_PROFILE", "GPUTUI_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _pilot_waits_for_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pilot press its next key when nothing is left to do, however busy the machine is."""
    monkeypatch.setattr(pilot, "wait_for_idle", until_quiet)
    monkeypatch.setattr("textual.app.wait_for_idle", until_handled)
    monkeypatch.setattr(pilot.Pilot, "_wait_for_screen", until_screen_is_quiet)


@pytest.fixture(autouse=True)
def _toasts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no toast be gone before a busy machine comes to look at it."""
    monkeypatch.setattr(Notification, "has_expired", False)
    monkeypatch.setattr(Notification, "time_left", 3600.0)


def refused(request: httpx.Request) -> httpx.Response:
    """Answer as a provider that does not know the key."""
    return httpx.Response(401, json={"code": "UNAUTHORIZED", "error": "invalid api key"})


DeskMaker = Callable[..., Desk]


@pytest.fixture
def make_desk(tmp_path: Path, clock: StandingClock) -> Iterator[DeskMaker]:
    """Return a function that opens a desk: `keys` names the providers with a key, `handler` answers their requests."""
    desks: list[Desk] = []

    def make(
        *,
        keys: Sequence[str] = ("huddle",),
        config: Config | None = None,
        handler: Callable[[httpx.Request], httpx.Response] = refused,
        agent_is_here: bool = True,
    ) -> Desk:
        paths = Paths("test", tmp_path / "config", tmp_path / "state", tmp_path / "data")
        paths.ensure()
        desk = Desk.assemble(
            paths,
            two_providers(config or Config()),
            secrets=Secrets(paths, environ={}),
            keys=HandedKeys(dict.fromkeys(keys, FAKE_KEY)),
            clock=clock,
            environ={},
            transports={"huddle": httpx.MockTransport(handler)},
            agent_is_here=agent_is_here,
        )
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.close()


def offer(
    provider: str,
    gpu: str,
    dollars: float,
    *,
    count: int = 1,
    region: str = "eu-north",
    stock: Stock | None = Stock.HIGH,
    fetched_ms: int = NOW_MS - 12_000,
) -> Offer:
    return Offer(
        id=f"{provider}:{gpu}:{count}:{region}",
        provider=provider,
        gpu=gpu,
        gpu_count=count,
        price_micro_usd_per_hour=round(dollars * 1_000_000) * count,
        fetched_at_ms=fetched_ms,
        vram_gib=80,
        vcpus=24 * count,
        ram_gib=180 * count,
        disk_gib=1000,
        region=region,
        stock=stock,
    )


HUDDLE_OFFERS = (
    offer("huddle", "B200", 3.99, region="FIN-01"),
    offer("huddle", "H200", 2.99, region="FIN-01"),
    offer("huddle", "H100-SXM", 2.29, region="FIN-01"),
    offer("huddle", "H100-SXM", 2.29, region="FIN-03", stock=Stock.LOW),
    offer("huddle", "H100-SXM", 2.29, count=8, region="FIN-01", stock=Stock.NONE),
    offer("huddle", "A100-80GB-SXM", 1.29, region="FIN-03"),
    offer("huddle", "L40S", 0.91, region="FIN-01", stock=Stock.LOW),
    offer("huddle", "V100-16GB", 0.14, region="FIN-01", stock=Stock.NONE),
)
MOCK_OFFERS = (
    offer("mock", "H200", 2.79),
    offer("mock", "H100-SXM", 2.49),
    offer("mock", "H100-PCIE", 1.99, stock=Stock.LOW),
    offer("mock", "A100-80GB-SXM", 1.49),
    offer("mock", "RTX-4090", 0.44),
    offer("mock", "T4", 0.0875),
)


def fill_market(desk: Desk, *, age_ms: int = 12_000) -> None:
    """Put both providers' offers into the store, fetched `age_ms` ago."""
    then_ms = desk.clock.now_ms() - age_ms
    for provider, offers in (("huddle", HUDDLE_OFFERS), ("mock", MOCK_OFFERS)):
        aged = [replace(found, fetched_at_ms=then_ms) for found in offers]
        offer_store.replace_snapshot(desk.store, provider, aged, now_ms=then_ms, latency_ms=420)


HOUR_MS = 3_600_000
# What the prices of one provider were, in percent of today's, so many hours ago.
PAST_PERCENT = ((150, 125), (60, 110), (22, 120), (14, 110), (7, 105), (2, 100))


def fill_history(desk: Desk) -> None:
    """Put a week of prices into the store, the newest as they are now; fill the market after it."""
    now_ms = desk.clock.now_ms()
    for hours, percent in PAST_PERCENT:
        then_ms = now_ms - hours * HOUR_MS
        for provider, offers in (("huddle", HUDDLE_OFFERS), ("mock", MOCK_OFFERS)):
            then = [
                replace(found, price_micro_usd_per_hour=found.price_micro_usd_per_hour * percent // 100)
                for found in offers
            ]
            offer_store.replace_snapshot(desk.store, provider, then, now_ms=then_ms, latency_ms=420)


def add_job(
    desk: Desk,
    number: int,
    status: JobStatus,
    *,
    name: str,
    spec: JobSpec,
    started_ago_ms: int | None = None,
    ended_ago_ms: int | None = None,
    placement_state: PlacementState | None = None,
    found: Offer | None = None,
    refused_first: str | None = None,
    error: str | None = None,
    exit_code: int | None = None,
) -> Job:
    """Write a job as an agent would have left it: row, placement, ledger and events."""
    now_ms = desk.clock.now_ms()
    created_ms = now_ms - (started_ago_ms or 0) - MINUTE_MS
    started_ms = now_ms - started_ago_ms if started_ago_ms is not None else None
    ended_ms = now_ms - ended_ago_ms if ended_ago_ms is not None else None
    job_id = f"01test{number:020d}"
    placement_id = f"01place{number:019d}" if placement_state is not None else None
    job = Job(
        id=job_id,
        spec=spec,
        status=status,
        phase=status.value,
        created_at_ms=created_ms,
        name=name,
        started_at_ms=started_ms,
        ended_at_ms=ended_ms,
        exit_code=exit_code,
        error=error,
        placement_id=placement_id,
    )
    with desk.store.write() as tx:
        job_store.insert_job(tx, job)
        job_store.add_event(tx, at_ms=created_ms, job_id=job_id, kind="job", state_to="queued", why="submitted")
        if refused_first:
            job_store.add_event(
                tx,
                at_ms=created_ms + 4_000,
                job_id=job_id,
                kind="placement",
                state_from="requesting",
                state_to="refused",
                why=refused_first,
            )
        if placement_id is not None:
            assert found is not None
            assert placement_state is not None
            job_store.insert_placement(
                tx,
                Placement(
                    id=placement_id,
                    job_id=job_id,
                    attempt=1,
                    provider=found.provider,
                    offer=found,
                    label=f"gputui-test-{number}",
                    idempotency_key=f"key-{number}",
                    nonce="nonce",
                    state=placement_state,
                    created_at_ms=created_ms + 5_000,
                    agreed_price_micro_usd_per_hour=found.price_micro_usd_per_hour,
                    machine_id=f"machine-{number}",
                ),
            )
            job_store.add_event(
                tx,
                at_ms=created_ms + 5_000,
                job_id=job_id,
                kind="job",
                state_from="queued",
                state_to="provisioning",
                why=f"attempt 1: {found.provider}",
            )
        if started_ms is not None:
            assert found is not None
            job_store.add_event(
                tx,
                at_ms=started_ms,
                job_id=job_id,
                kind="job",
                state_from="provisioning",
                state_to="running",
                why="the workload runs",
            )
            usage_store.insert_interval(
                tx,
                job_id=job_id,
                placement_id=placement_id,
                provider=found.provider,
                resource="compute",
                rate_micro_usd_per_hour=found.price_micro_usd_per_hour,
                granularity_s=1,
                minimum_s=600,
                start_earliest_ms=started_ms - 4_000,
                start_latest_ms=started_ms,
                last_seen_ms=ended_ms or now_ms,
            )
        if ended_ms is not None:
            job_store.add_event(
                tx,
                at_ms=ended_ms,
                job_id=job_id,
                kind="job",
                state_from="running",
                state_to=status.value,
                why=error or "the workload ended",
            )
    return job


TRAINING = JobSpec(
    gpu="H100",
    image="pytorch/pytorch:latest",
    command="python train.py --epochs 3",
    env={"WANDB_MODE": "offline"},
    max_duration_s=4 * 3600,
)


def fill_jobs(desk: Desk) -> list[Job]:
    """Put one job of every kind into the store, newest last."""
    failed = add_job(
        desk,
        1,
        JobStatus.FAILED,
        name="big-07",
        spec=replace(TRAINING, gpu="B200"),
        ended_ago_ms=90 * MINUTE_MS,
        error="No capacity: all 2 offers of 1 × B200 are sold out.",
    )
    completed = add_job(
        desk,
        2,
        JobStatus.COMPLETED,
        name="eval-7",
        spec=replace(TRAINING, gpu="A100", command="python eval.py", name="eval-7"),
        started_ago_ms=52 * MINUTE_MS,
        ended_ago_ms=30 * MINUTE_MS,
        placement_state=PlacementState.GONE,
        found=HUDDLE_OFFERS[5],
        exit_code=0,
    )
    with desk.store.write() as tx:
        interval = tx.read("SELECT id FROM usage_intervals")[0]["id"]
        usage_store.update_interval(
            tx,
            interval,
            end_earliest_ms=NOW_MS - 30 * MINUTE_MS,
            end_latest_ms=NOW_MS - 30 * MINUTE_MS,
            cost_low_micro_usd=473_000,
            cost_high_micro_usd=474_434,
        )
    starting = add_job(
        desk,
        3,
        JobStatus.PROVISIONING,
        name="sweep-a",
        spec=replace(TRAINING, gpu="RTX-4090", max_duration_s=None),
        placement_state=PlacementState.PROVISIONING,
        found=MOCK_OFFERS[4],
        refused_first="huddle: no capacity",
    )
    running = add_job(
        desk,
        4,
        JobStatus.RUNNING,
        name="ft-run-0142",
        spec=TRAINING,
        started_ago_ms=72 * MINUTE_MS + 9_000,
        placement_state=PlacementState.RUNNING,
        found=HUDDLE_OFFERS[2],
    )
    return [failed, completed, starting, running]


def write_log(desk: Desk, job: Job, lines: int = 60) -> Path:
    """Write a job's log: plain lines, a coloured one, a progress bar that rewrote itself."""
    path = desk.log_path(job.id)
    rows = [
        f"step {step:5d}  loss {8 / (1 + step / 9):.4f}  lr 2.9e-4  38.2k tok/s" for step in range(10, 10 * lines, 10)
    ]
    rows[-3] = "\x1b[33mwarning:\x1b[0m checkpoint took 4.1 s"
    rows[-2] = "saving:  10%\rsaving:  60%\rsaving: 100% done"
    path.write_bytes("\n".join(rows).encode() + b"\n")
    return path


@pytest.fixture
def desk(make_desk: DeskMaker) -> Desk:
    """Return a desk with a full market and one job of every kind."""
    made = make_desk()
    fill_market(made)
    jobs = fill_jobs(made)
    write_log(made, jobs[-1])
    return made


@pytest.fixture
def kit() -> SimpleNamespace:
    """Return the functions above: test files cannot import from here."""
    return SimpleNamespace(
        NOW_MS=NOW_MS,
        MINUTE_MS=MINUTE_MS,
        FAKE_KEY=FAKE_KEY,
        HUDDLE_OFFERS=HUDDLE_OFFERS,
        TRAINING=TRAINING,
        offer=offer,
        add_job=add_job,
        fill_market=fill_market,
        fill_history=fill_history,
        fill_jobs=fill_jobs,
        write_log=write_log,
    )


@pytest.fixture
def app(desk: Desk) -> GputuiApp:
    return GputuiApp(desk)
