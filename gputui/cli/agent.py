"""`gputui agent`: the background process of a profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import open_desk, profile_of, title_of
from gputui.cli.output import emit, json_option, require_yes, say, warn, yes_option
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


@agent.command()
@click.option("--print", "print_only", is_flag=True, help="Print the unit and change nothing.")
@json_option
@click.pass_context
def install(ctx: click.Context, print_only: bool, as_json: bool) -> None:
    """Have systemd start the agent now and after every boot, as a unit of this user.

    The unit holds no key. Which of your keys the agent can read before anybody has logged in is told.
    """
    from gputui.local import systemd

    desk = open_desk(ctx)
    profile = desk.paths.profile
    if print_only:
        click.echo(systemd.unit_text(profile, desk.environ), nl=False)
        return
    path = systemd.install(profile, desk.environ)
    keys = list(_keys_at_boot(desk))
    lingering = systemd.lingering(desk.environ)
    emit(
        {"unit": str(path), "keys": keys, "lingering": lingering.is_on},
        as_json=as_json,
        human=lambda: f"The agent runs now and will after every boot. The unit is {path}",
    )
    for key in keys:
        at_boot = "can be read at boot" if key["at_boot"] else "cannot be read at boot"
        say(f"· the key of {title_of(key['provider'])} {at_boot}: {key['why']}")
    if lingering.is_on is not True:
        told = "is off" if lingering.is_on is False else "may be off"
        warn(
            f"lingering {told}: until you log in, and after you log out, systemd runs nothing of yours, the agent neither.\n"
            f"Turn it on with: loginctl enable-linger {lingering.user}"
        )


@agent.command()
@json_option
@click.pass_context
def uninstall(ctx: click.Context, as_json: bool) -> None:
    """Remove the unit and stop its agent; live jobs are watched again by the next command that looks at them."""
    from gputui.local import systemd

    desk = open_desk(ctx)
    was_there = systemd.uninstall(desk.paths.profile, desk.environ)
    emit(
        {"was_installed": was_there},
        as_json=as_json,
        human=lambda: "The unit is removed." if was_there else "No unit was installed.",
    )


def _keys_at_boot(desk: Desk) -> Iterator[dict[str, Any]]:
    """Tell of each key whether an agent that nobody has logged in for can read it, and why."""
    from gputui.local.secrets import PASSPHRASE_VARIABLE, KeySource
    from gputui.providers.registry import provider_info

    has_passphrase_file = bool(desk.environ.get(f"{PASSPHRASE_VARIABLE}_FILE"))
    told = {
        KeySource.ENVIRONMENT: (False, "the variable is this shell's; keep the key with: gputui auth login"),
        KeySource.FILE: (True, "it is in a file that the unit knows"),
        KeySource.KEYRING: (
            False,
            "the keyring opens when you log in; while machines run the agent looks every minute",
        ),
        KeySource.VAULT: (True, "the vault's passphrase is in a file that the unit knows")
        if has_passphrase_file
        else (
            False,
            f"nobody can type the vault's passphrase; put it in a file, name that in {PASSPHRASE_VARIABLE}_FILE, install again",
        ),
        KeySource.PLAIN: (True, "it is in the plain-text file"),
    }
    for name in desk.accounts.names():
        info = provider_info(name)
        rungs = desk.secrets.status(name, info.key_variables) if info.needs_key else []
        if rungs and (rungs[-1].served or rungs[-1].problem):
            at_boot, why = told[rungs[-1].source]
            yield {"provider": name, "source": rungs[-1].source.value, "at_boot": at_boot, "why": why}


def _sentence(desk: Desk, state: AgentState, alive_jobs: int) -> str:
    from gputui.model.units import format_age

    jobs = f"{alive_jobs} job{'' if alive_jobs == 1 else 's'} alive"
    if state.pid is None:
        heard = ""
        if state.beat_ms is not None:
            heard = f" It was last heard of {format_age(desk.clock.now_ms() - state.beat_ms)} ago."
        return f"No agent runs; {jobs}.{heard}"
    return f"The agent (pid {state.pid}, version {state.version or 'unknown'}) is {state.condition.value}; {jobs}."
