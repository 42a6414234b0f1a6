"""The harness where a job's machine was ordered with volumes: nothing runs before they are mounted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gputui.model.errors import UsageError
from gputui.sim.stub_docker import set_faults

MOUNTS = ("/lambda/nfs/datasets", "/lambda/nfs/models")
SHORT = {"MOCK_DURATION_S": "1"}
EXITED_0 = ("exited", 0, "exited")
MISSING = ("failed", None, "volume_missing")


@pytest.fixture
def docker_machine(new_machine: Callable[..., Any]) -> Any:
    return new_machine(docker=True)


def containers(machine: Any) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (machine.docker_state / "containers").glob("*.json")]


@pytest.mark.parametrize("image", ["pytorch/pytorch:latest", None])
async def test_a_job_starts_once_its_volumes_are_there(docker_machine: Any, image: str | None) -> None:
    machine = docker_machine
    set_faults(machine.docker_state, unmounted=MOUNTS[1:])
    await machine.start("python train.py", image=image, env=SHORT, mounts=MOUNTS)
    await machine.until(lambda: machine.has("mounts_by"))
    reply = await machine.runner.poll(0, lease_s=300)
    assert (reply.state, reply.started_s) == ("starting", None)
    assert containers(machine) == []
    set_faults(machine.docker_state)
    assert (await machine.ended()).summary == EXITED_0


@pytest.mark.parametrize("image", ["pytorch/pytorch:latest", None])
async def test_a_volume_that_never_comes_fails_the_job_before_it_runs(docker_machine: Any, image: str | None) -> None:
    machine = docker_machine
    set_faults(machine.docker_state, unmounted=MOUNTS[1:])
    await machine.start("python train.py", image=image, env=SHORT, mounts=MOUNTS)
    await machine.until(lambda: machine.has("mounts_by"))
    machine.expire("mounts_by")
    ended = await machine.ended()
    assert ended.summary == MISSING
    assert MOUNTS[1].encode() in ended.log
    assert containers(machine) == []


async def test_the_container_has_them_at_the_same_paths(docker_machine: Any) -> None:
    await docker_machine.start("python train.py", image="pytorch/pytorch:latest", env=SHORT, mounts=MOUNTS)
    assert (await docker_machine.ended()).summary == EXITED_0
    (container,) = containers(docker_machine)
    assert container["mounts"] == [f"type=bind,src={path},dst={path}" for path in MOUNTS]


async def test_a_stop_is_heeded_while_volumes_are_awaited(docker_machine: Any) -> None:
    set_faults(docker_machine.docker_state, unmounted=MOUNTS)
    runner = await docker_machine.start("python train.py", image="pytorch/pytorch:latest", mounts=MOUNTS)
    await docker_machine.until(lambda: docker_machine.has("mounts_by"))
    await runner.stop()
    assert (await docker_machine.ended()).summary == ("failed", None, "cancelled")


@pytest.mark.parametrize("path", ["", "data", "/", "/a b", "/a:/b", "/a,readonly", "/../etc", "/a\n/b", "/$HOME"])
async def test_a_path_that_could_mean_something_else_is_refused(docker_machine: Any, path: str) -> None:
    with pytest.raises(UsageError):
        await docker_machine.install("true", mounts=(path,))
