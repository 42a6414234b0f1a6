"""What really happened to a job's command on a machine, asked of the world's own records."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gputui.core.runner.protocol import RunState, job_folder, parse_poll
from gputui.model.types import Placement
from gputui.sim.lives import Life
from gputui.sim.machine import SimMachine
from gputui.sim.runpod import container
from gputui.sim.runpod.state import pod_of
from gputui.sim.tensordock.state import vm_of
from gputui.sim.world import World

_EVERYTHING = 1 << 40


@dataclass(frozen=True, slots=True)
class Work:
    """A command on a machine. `ended_ms` and `exit_code` are None when the machine ended first."""

    printed: bytes
    ended_ms: int | None
    exit_code: int | None


def work_on(world: World, machine: SimMachine, placement: Placement) -> Work | None:
    """Return what a placement's command did on its machine, None when it was never started there."""
    last_ms = _last_moment_ms(machine, world.now_ms())
    if last_ms is None:
        return None
    if machine.provider == "runpod":
        return _in_a_pod(machine, last_ms)
    return _under_the_harness(world, machine, placement, last_ms)


def started_ms(machine: SimMachine, now_ms: int) -> int | None:
    """Return when a machine began to be of use, None when it never was: where the image is the machine, that is when its
    container started; where running is told by the address, one without any never did."""
    if machine.provider == "runpod":
        return next((run.start_ms for run in container.runs(pod_of(machine)) if run.start_ms <= now_ms), None)
    if machine.provider == "tensordock" and not vm_of(machine).gets_address:
        return None
    return machine.running_ms(now_ms)


def _last_moment_ms(machine: SimMachine, now_ms: int) -> int | None:
    """Return the last moment at which the machine ran, None when it never did."""
    running_ms = machine.running_ms(now_ms)
    if running_ms is None:
        return None
    ends = [at_ms for at_ms, life in machine.timeline if at_ms > running_ms and life is not Life.RUNNING]
    return min([*ends, now_ms])


def _under_the_harness(world: World, machine: SimMachine, placement: Placement, last_ms: int) -> Work | None:
    host, folder = world.host(machine.id), job_folder(placement.id)
    if host is None or not host.is_installed(folder):
        return None
    reply = parse_poll(host.poll(folder, last_ms, offset=0, limit=_EVERYTHING, lease_s=0), offset=0, limit=_EVERYTHING)
    if reply.state is RunState.NONE:
        return None
    ended_ms = reply.finished_s * 1000 if reply.finished_s is not None else None
    return Work(reply.payload, ended_ms, reply.exit_code)


def _in_a_pod(machine: SimMachine, last_ms: int) -> Work | None:
    pod = pod_of(machine)
    runs = [run for run in container.runs(pod) if run.start_ms < last_ms]
    job = container.job_of(runs[0]) if runs else None
    if job is None:
        return None
    ended_ms = job.run.end()[0]
    is_over = ended_ms <= min(last_ms, runs[0].end_ms)
    # What a container that lost its disk does all over again, once the job is over, is no part of it.
    until_ms = ended_ms if is_over else last_ms
    printed = ""
    for line in container.story(pod):
        if line.at_ms > until_ms:
            break
        if line.source == container.CONTAINER:
            printed += _without_ours(line.text, job.nonce)
    return Work(
        printed.encode(),
        ended_ms if is_over else None,
        job.outcome()[0] if is_over else None,
    )


def _without_ours(text: str, nonce: str) -> str:
    """Return what of a line the job printed itself: all of it, or what it left without a line end before a word of ours."""
    match = re.search(rf"gputui-[a-z]+ {nonce}\b", text)
    return f"{text}\n" if match is None else text[: match.start()]
