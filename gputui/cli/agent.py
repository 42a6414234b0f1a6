"""`gputui agent`: the background process of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import open_desk, profile_of
from gputui.cli.output import emit, json_option, require_yes, warn, yes_option
from gputui.model.errors import AgentError

if TYPE_CHECKING:
    from gputui.core.agent_link import AgentState
    from gputui.core.desk import Desk


@click.group()
def agent() -> None:
    """The one process that creates, watches and deletes machines. It starts and ends by itself."""


@agent.command()
@click.option("--detached", is_flag=True, hidden=True)
@click.option("--handover-fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.pass_context
def run(ctx: click.Context, detached: bool, handover_fd: int | None, ready_fd: int | None) -> None:
    """Run the agent here, for a service manager or a look at its log, until it is told to end.

    Ends with 1 when another one runs.
    """
    from gputui.core.agent import run_agent

    ctx.exit(run_agent(profile_of(ctx), handover_fd=handover_fd, ready_fd=ready_fd))


@agent.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show whether an agent watches this profile, and how many jobs are alive."""
    from gputui.core.shapes import agent_shape

    desk = open_desk(ctx)
    state, alive_jobs = desk.agent_state(), desk.burn().alive_jobs
    emit(agent_shape(state, alive_jobs=alive_jobs), as_json=as_json, human=lambda: _sentence(desk, state, alive_jobs))
    if alive_jobs and state.pid is None:
        warn("jobs are alive and nobody watches them; any other command starts an agent.")


@agent.command()
@yes_option
@json_option
@click.pass_context
def stop(ctx: click.Context, yes: bool, as_json: bool) -> None:
    """End the agent. Jobs go on unwatched; the next command that looks at them starts another agent."""
    from gputui.local.daemon import stop_process

    desk = open_desk(ctx)
    pid, alive_jobs = desk.agent_state().pid, desk.burn().alive_jobs
    if pid == 0:
        raise AgentError("The agent holds its lock but has not written its pid yet.", hint="Try again in a moment.")
    was_running = False
    if pid is not None:
        if alive_jobs:
            plural = "s are" if alive_jobs > 1 else " is"
            require_yes(f"{alive_jobs} job{plural} alive and will be watched by nobody. End the agent?", yes=yes)
        was_running = stop_process(pid, desk.paths.agent_lock)
    emit(
        {"was_running": was_running, "pid": pid, "alive_jobs": alive_jobs},
        as_json=as_json,
        human=lambda: f"The agent (pid {pid}) has ended." if was_running else "No agent was running.",
    )


def _sentence(desk: Desk, state: AgentState, alive_jobs: int) -> str:
    from gputui.model.units import format_age

    jobs = f"{alive_jobs} job{'' if alive_jobs == 1 else 's'} alive"
    if state.pid is None:
        heard = ""
        if state.beat_ms is not None:
            heard = f" It was last heard of {format_age(desk.clock.now_ms() - state.beat_ms)} ago."
        return f"No agent runs; {jobs}.{heard}"
    return f"The agent (pid {state.pid}, version {state.version or 'unknown'}) is {state.condition.value}; {jobs}."
