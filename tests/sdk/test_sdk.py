"""GPU and AsyncGPU: what they return, what they refuse, and one whole job with each on the mock cloud."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import gputui
from gputui import GPU, AsyncGPU, GputuiError
from gputui.core.desk import Desk
from gputui.model.errors import AuthError, NoMatch, NotFoundError, NotSupported, Unreachable, UsageError
from gputui.providers.mock.client import MockClient
from gputui.sdk import Job
from gputui.sdk_async import AsyncJob

QUICK = {"MOCK_DURATION_S": "1", "MOCK_BOOT_S": "0.2"}
TRAIN: dict[str, Any] = {
    "gpu": "H100",
    "image": "pytorch/pytorch:latest",
    "command": "python train.py",
    "provider": "mock",
    "env": QUICK,
}


def test_public_names_are_there_and_no_others() -> None:
    assert gputui.__version__
    for name in gputui.__all__:
        assert getattr(gputui, name) is not None
    assert dir(gputui) == sorted(gputui.__all__)
    with pytest.raises(AttributeError):
        _ = gputui.Nonsense  # type: ignore[attr-defined]


def test_the_twins_have_the_same_names_and_parameters() -> None:
    for sync, twin in ((GPU, AsyncGPU), (Job, AsyncJob)):
        names = {name for name in vars(sync) if not name.startswith("_")}
        assert names == {name for name in vars(twin) if not name.startswith("_")}
        for name in names:
            parameters = [list(inspect.signature(getattr(kind, name)).parameters) for kind in (sync, twin)]
            assert parameters[0] == parameters[1], name


def test_pricing_rows() -> None:
    with GPU() as gpu:
        rows = gpu.pricing("H100")
    assert {row.provider for row in rows} == {"mock"}
    assert all(row.gpu_model.startswith("H100") for row in rows)
    assert all(isinstance(row.price, Decimal) and Decimal("0.5") < row.price < 10 for row in rows)
    assert all(datetime.now(UTC) - row.fetched_at < timedelta(minutes=1) for row in rows)


def test_pricing_asks_again_only_when_old_or_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with GPU() as gpu:
        gpu.pricing()

        async def fail(self: MockClient) -> None:
            raise Unreachable("mock cannot be reached.", provider="mock")

        monkeypatch.setattr(MockClient, "fetch_offers", fail)
        before = gpu.pricing()
        with pytest.warns(RuntimeWarning, match="mock cannot be reached"):
            assert gpu.pricing(refresh=True) == before


def test_offers_and_plan() -> None:
    with GPU() as gpu:
        offers = gpu.offers("H100")
        assert [offer.price for offer in offers] == sorted(offer.price for offer in offers)
        assert all(offer.effective_price >= offer.price for offer in offers)
        route = gpu.plan(gpu="H100", budget_max=2.5, max_duration=timedelta(hours=2))
        assert route.best is not None
        assert route.best.offer.price <= Decimal("2.5")
        assert {loser.reason for loser in route.losers if loser.price > Decimal("2.5") and loser.gpu_count == 1}
        assert "huddle" in route.not_asked
        nothing = gpu.plan(gpu="H100", budget_max="0.01")
        assert nothing.best is None
        assert nothing.losers


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ({"budget_max": -1}, UsageError),
        ({"budget_max": Decimal("-0.5")}, UsageError),
        ({"budget_max": "0"}, UsageError),
        ({"budget_max": float("nan")}, UsageError),
        ({"max_duration": -5}, UsageError),
        ({"max_duration": 0}, UsageError),
        ({"command": None}, UsageError),
        ({"gpu": "H1000"}, UsageError),
        ({"priority": "beauty"}, UsageError),
        ({"provider": "huddle"}, AuthError),
        ({"budget_max": 0.01}, NoMatch),
    ],
)
def test_mistakes_are_errors_with_a_sentence_and_nothing_is_submitted(
    wanted: dict[str, Any], kind: type[GputuiError]
) -> None:
    with GPU() as gpu:
        with pytest.raises(kind) as raised:
            gpu.run(**{**TRAIN, **wanted})
        assert raised.value.code == kind.code
        assert gpu.jobs() == []


def test_unknown_jobs_and_a_closed_object_are_errors() -> None:
    gpu = GPU()
    with pytest.raises(NotFoundError):
        gpu.job("nope")
    gpu.close()
    gpu.close()
    with pytest.raises(UsageError, match="closed"):
        gpu.jobs()


def test_a_bad_profile_is_told_at_the_first_call() -> None:
    with GPU("Not A Name") as gpu, pytest.raises(UsageError, match="profile"):
        gpu.jobs()


def test_a_machine_list_that_is_incomplete_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MockClient) -> None:
        raise Unreachable("mock cannot be reached.", provider="mock")

    monkeypatch.setattr(MockClient, "list_machines", fail)
    with GPU() as gpu, pytest.warns(RuntimeWarning, match="Mock could not be asked"):
        assert gpu.machines() == []


async def test_the_blocking_face_works_inside_a_running_loop_and_from_other_threads() -> None:
    with GPU() as gpu:
        assert gpu.pricing("H100")
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(len(gpu.pricing("H100"))))
        thread.start()
        await asyncio.to_thread(thread.join, 60)
        assert found == [len(gpu.pricing("H100"))]


def test_a_job_from_submission_to_the_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    with GPU() as gpu:
        with monkeypatch.context() as no_agent:
            no_agent.setattr(Desk, "ensure_agent", lambda self: None)
            job = gpu.run(**TRAIN, budget_max=5, max_duration="1h", name="train-me")
            assert job.id
            assert job.status == "queued"
            with pytest.raises(TimeoutError):
                job.wait(timeout=0)
        lines = list(job.logs(follow=True))
        assert lines[-1].startswith("done in")
        assert job.wait(timeout=60) is job
        assert (job.status, job.exit_code, job.error, job.is_over) == ("completed", 0, None, True)
        assert (job.provider, job.gpu_count, job.name) == ("mock", 1, "train-me")
        assert job.gpu_type.startswith("H100")
        assert isinstance(job.cost, Decimal)
        assert job.cost > job.cost_uncertainty >= 0
        assert job.cost_per_hour is not None
        assert job.cost_per_hour < 5
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.created_at <= job.started_at <= job.ended_at
        assert list(job.logs()) == lines
        assert [found.id for found in gpu.jobs()] == [job.id]
        assert gpu.job("train-me").id == job.id
        assert gpu.machines() == []


async def test_the_async_twin_runs_a_job_without_blocking_the_loop() -> None:
    async with AsyncGPU() as gpu:
        assert {row.provider for row in await gpu.pricing("H100")} == {"mock"}
        job = await _while_the_loop_goes_on(gpu.run(**{**TRAIN, "env": {**QUICK, "MOCK_DURATION_S": "600"}}))
        await _stop_at_the_first_line(job)
        [job] = await gpu.jobs()
        assert (await gpu.job(job.id)).status == "stopped"
        assert await gpu.machines() == []
        with pytest.raises(NoMatch):
            await gpu.run(**TRAIN, budget_max="0.01")


async def _stop_at_the_first_line(job: AsyncJob) -> None:
    with pytest.raises(TimeoutError):
        await job.wait(timeout=0.05)
    lines = []
    async for line in job.logs(follow=True):
        lines.append(line)
        if "python train.py" in line:
            await job.stop()
    assert job.is_over
    await job.wait(timeout=60)
    assert job.status == "stopped"
    assert [line async for line in job.logs()] == lines


async def _while_the_loop_goes_on(submitting: Coroutine[Any, Any, AsyncJob]) -> AsyncJob:
    """Submit a job, which starts an agent and takes its time, and see that another task gets its turns meanwhile."""
    task = asyncio.create_task(submitting)
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
    return task.result()


def test_volumes_go_to_a_provider_that_can_attach_them() -> None:
    with GPU() as gpu, pytest.raises(NotSupported, match="Mock cannot order a machine with a volume"):
        gpu.plan(gpu="H100", provider="mock", volumes=["data"])
    with GPU() as gpu, pytest.raises(UsageError, match="--provider"):
        gpu.run(gpu="H100", command="true", volumes="data")
