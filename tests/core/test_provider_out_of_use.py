"""A provider that was switched off, or whose key is gone, while a machine of ours is alive there: it is not forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agent_world import AgentWorld

from gputui.local.config import Config, ProviderConfig
from gputui.model.errors import AuthError
from gputui.model.states import JobStatus
from gputui.model.types import JobSpec
from gputui.sim.truth import truth_of
from gputui.store.findings import FindingKind

OFF = Config(providers={"huddle": ProviderConfig(enabled=False)})


def switch_huddle_off(shop: AgentWorld) -> None:
    """Put the setting in, as a program has it that starts after the file was changed."""
    shop.desk.config = shop.desk.accounts._config = OFF


async def a_running_job(shop: AgentWorld, **spec: object) -> str:
    job_id = shop.submit(**{"env": {"MOCK_DURATION_S": "90000"}, **spec})
    await shop.until_phase(job_id, "running")
    await shop.kill_agent()
    return job_id


def alive(shop: AgentWorld) -> int:
    return sum(machine["alive"] for machine in truth_of(shop.world)["machines"])


def test_a_job_at_a_provider_that_was_switched_off_ends_at_its_limit(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await a_running_job(shop, max_duration_s=3600)
        switch_huddle_off(shop)
        shop.start_agent()
        report = await shop.finished(job_id, within_s=2 * 3600)
        assert report.job.error_code == "max_duration"
        assert alive(shop) == 0
        assert shop.desk.alarms() == []

    play(scene)


def test_a_provider_that_was_switched_off_is_not_ordered_from(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await shop.desk.refresh()
        switch_huddle_off(shop)
        with pytest.raises(AuthError, match="switched off"):
            shop.submit()
        quotes = shop.desk.plan(JobSpec(gpu="H100", command="true")).quotes
        assert quotes
        assert "huddle" not in {quote.offer.provider for quote in quotes}

    play(scene)


def test_its_machines_are_listed_swept_and_can_be_terminated(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        job_id = await a_running_job(shop)
        switch_huddle_off(shop)
        await shop.desk.accounts.forget()
        rows, problems = await shop.desk.machines()
        assert [row.placement.job_id for row in rows if row.placement] == [job_id]
        assert problems == {}
        assert (await shop.desk.sweep()).problems == {}
        assert shop.desk.swept()["huddle"].ok_ms is not None
        shop.desk.request_termination(rows[0].machine)
        shop.start_agent()
        assert (await shop.finished(job_id)).job.status is JobStatus.STOPPED
        assert alive(shop) == 0
        assert "huddle" not in {row.machine.provider for row in (await shop.desk.machines())[0]}

    play(scene)


def test_a_live_machine_whose_key_is_gone_is_no_empty_list(play: Callable[..., None]) -> None:
    async def scene(shop: AgentWorld) -> None:
        await a_running_job(shop)
        shop.keys.missing.add("huddle")
        await shop.desk.accounts.forget()
        rows, problems = await shop.desk.machines()
        assert rows == []
        assert isinstance(problems["huddle"], AuthError)
        swept = await shop.desk.sweep()
        assert isinstance(swept.problems["huddle"], AuthError)
        assert [finding for finding in swept.findings if finding.kind is FindingKind.LOST] == []

    play(scene)
