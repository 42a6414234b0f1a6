"""`gputui machines`: what exists at the providers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk, tell_problems, title_of
from gputui.cli.exits import exit_code_of
from gputui.cli.output import emit, json_option, require_yes, say, table, yes_option
from gputui.cli.sweep import sweep
from gputui.cli.table import Column
from gputui.model.errors import GputuiError, GuardRefused, NotFoundError, UsageError

if TYPE_CHECKING:
    from gputui.core.desk import Desk, MachineRow
    from gputui.model.types import Machine, Placement

WAIT_DEADLINE = "10m"


@click.group()
def machines() -> None:
    """Machines that exist at the providers now, ours and others in the account."""


machines.add_command(sweep)


@machines.command("list")
@json_option
@click.pass_context
def list_machines(ctx: click.Context, as_json: bool) -> None:
    """Ask every provider what is alive.

    Ends with another code than 0 when one could not be asked: the list may then not be all there is.
    """
    from gputui.core.shapes import machine_shape

    desk = open_guarded_desk(ctx)
    rows, problems = ask(desk, desk.machines())
    emit([machine_shape(row) for row in rows], as_json=as_json, human=lambda: _table(rows))
    tell_problems(problems)
    if problems:
        ctx.exit(exit_code_of(next(iter(problems.values()))))


@machines.command()
@click.argument("machine_id", metavar="MACHINE")
@click.option("--foreign", is_flag=True, help="Do it even to a machine that this program did not make.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the machine is gone.")
@click.option("--deadline", metavar="TIME", default=WAIT_DEADLINE, show_default=True, help="How long to wait.")
@yes_option
@json_option
@click.pass_context
def terminate(
    ctx: click.Context, machine_id: str, foreign: bool, no_wait: bool, deadline: str, yes: bool, as_json: bool
) -> None:
    """Delete a machine and wait until the provider itself no longer lists it. MACHINE is an id or its beginning.

    One that belongs to a job is ended by stopping the job, so that its log and cost are kept.
    """
    from gputui.core.shapes import machine_shape
    from gputui.model.units import parse_duration

    deadline_s = parse_duration(deadline, field="--deadline")
    desk = open_desk(ctx)
    rows, problems = ask(desk, desk.machines())
    row = _the_machine(rows, problems, machine_id)
    machine = row.machine
    if not row.is_ours and not foreign:
        raise GuardRefused(
            f"Machine {machine.id} at {title_of(machine.provider)} was not made by this profile.",
            hint="Add --foreign if it really is to be deleted.",
        )
    is_unknown = row.is_ours and row.placement is None
    doubt = ", of which nothing is known here (perhaps another computer's)," if is_unknown else ""
    require_yes(f"Delete {_described(machine)}{doubt} and everything on its disk?", yes=yes)
    desk.request_termination(machine)
    if not no_wait:
        _wait_until_gone(desk, row, deadline_s)
    emit(
        {**machine_shape(row), "is_gone": not no_wait},
        as_json=as_json,
        human=lambda: (
            f"The agent is deleting {machine.id}. See: gputui machines list"
            if no_wait
            else f"{machine.id} is gone: {title_of(machine.provider)} no longer lists it."
        ),
    )


@machines.command()
@click.argument("machine_id", metavar="MACHINE")
@click.option("--max-duration", metavar="TIME", help="End it after so long, such as 4h.")
@json_option
@click.pass_context
def adopt(ctx: click.Context, machine_id: str, max_duration: str | None, as_json: bool) -> None:
    """Take a lost machine back as a job, which keeps it, meters it and ends it. MACHINE is an id or its beginning.

    It goes on costing money until that job is stopped.
    """
    from gputui.core.shapes import job_shape
    from gputui.model.ids import short_id
    from gputui.model.units import parse_duration

    max_duration_s = parse_duration(max_duration, field="--max-duration") if max_duration else None
    desk = open_desk(ctx)
    rows, problems = ask(desk, desk.machines())
    machine = _the_machine(rows, problems, machine_id).machine
    job = desk.adopt(machine, max_duration_s=max_duration_s)
    emit(
        job_shape(desk.job(job.id)),
        as_json=as_json,
        human=lambda: f"Job {job.name} has {_described(machine)}. To end it: gputui jobs stop {short_id(job.id)}",
    )


@machines.command()
@click.argument("reference", metavar="JOB|MACHINE")
@click.option("--print", "print_only", is_flag=True, help="Print the command instead of running it.")
@click.pass_context
def ssh(ctx: click.Context, reference: str, print_only: bool) -> None:
    """Log in to the machine of a job, trusting only the host key that was pinned for it."""
    from gputui.core.login import login_argv

    desk = open_guarded_desk(ctx)
    argv = login_argv(desk.paths, _placement_of(desk, reference))
    if print_only:
        click.echo(shlex.join(argv))
        return
    desk.close()
    sys.stdout.flush()
    try:
        os.execvp(argv[0], argv)  # noqa: S606  this process becomes ssh, with an argv list of ours
    except FileNotFoundError:
        raise NotFoundError("There is no ssh program here.", hint="Install OpenSSH's client.") from None


def _the_machine(rows: list[MachineRow], problems: Mapping[str, GputuiError], machine_id: str) -> MachineRow:
    """Return the machine a person means. Raises NotFoundError, UsageError when several fit."""
    exact = [row for row in rows if row.machine.id == machine_id]
    found = exact or [row for row in rows if machine_id and row.machine.id.startswith(machine_id)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{row.machine.id} ({title_of(row.machine.provider)})" for row in found)
        raise UsageError(f"{machine_id!r} fits several machines: {names}.", hint="Give more of the id.")
    tell_problems(problems)
    but = f" among those that could be asked (not: {', '.join(problems)})" if problems else ""
    raise NotFoundError(f"No machine {machine_id!r} is alive{but}.", hint="See: gputui machines list")


def _wait_until_gone(desk: Desk, row: MachineRow, deadline_s: int) -> None:
    from gputui.cli.waiting import wait_until

    machine, placement = row.machine, row.placement
    title = title_of(machine.provider)
    say(f"Waiting until {title} no longer lists {machine.id} …")
    told: str | None = None

    def is_gone() -> bool:
        nonlocal told
        wish = desk.termination(machine)
        if wish is not None and wish.last_error and wish.last_error != told:
            told = wish.last_error
            say(f"· {told}")
        if wish is not None and wish.gone_at_ms is not None:
            return True
        # A machine of a live job has no wish of its own: its job was asked to stop.
        attempts = desk.placements(placement.job_id) if placement is not None else []
        return wish is None and any(attempt.machine_id == machine.id and attempt.state.is_final for attempt in attempts)

    wait_until(
        desk,
        is_gone,
        deadline_s=deadline_s,
        otherwise=f"{title} still lists {machine.id}, which may go on costing money; the agent goes on trying.",
        hint=f"Look again with: gputui machines list. In need, delete it at {title} yourself.",
    )


def _placement_of(desk: Desk, reference: str) -> Placement:
    """Return the placement that a job, or a machine of ours, is meant by."""
    from gputui.core.reports import live_placements

    live = [placement for placement in live_placements(desk.store) if placement.machine_id is not None]
    found = [placement for placement in live if placement.machine_id == reference]
    found = found or [placement for placement in live if reference and str(placement.machine_id).startswith(reference)]
    if len(found) == 1:
        return found[0]
    placement = desk.job(reference).placement
    if placement is None:
        raise NotFoundError(f"Job {reference} has no machine yet.", hint=f"See: gputui jobs status {reference}")
    return placement


def _described(machine: Machine) -> str:
    from gputui.model.units import format_usd

    gpus = f"{machine.gpu_count or '?'} × {machine.gpu or 'an unknown GPU'}"
    price = machine.present_rate_micro_usd_per_hour
    rate = f", {format_usd(price)} $/h" if price is not None else ""
    return f"machine {machine.id} at {title_of(machine.provider)} ({gpus}{rate})"


def _table(rows: list[MachineRow]) -> str:
    from gputui.core.shapes import ssh_command
    from gputui.model.ids import short_id
    from gputui.model.units import format_usd

    columns = [
        Column("MACHINE", shrinks=True),
        Column("PROVIDER"),
        Column("STATE"),
        Column("JOB"),
        Column("GPU"),
        Column("REGION", shrinks=True),
        Column("$/H", right=True),
        Column("SSH", shrinks=True),
    ]
    cells = []
    for row in rows:
        machine = row.machine
        owner = short_id(row.placement.job_id) if row.placement else ("unknown" if row.is_ours else "not ours")
        cells.append(
            [
                machine.id,
                machine.provider,
                machine.state.value if machine.state.value != "unknown" else f"? {machine.raw_state}",
                owner,
                f"{machine.gpu_count or '?'} × {machine.gpu or '?'}",
                machine.region or "–",
                format_usd(machine.present_rate_micro_usd_per_hour),
                ssh_command(machine.ip, machine.ssh_port, machine.ssh_user) or "–",
            ]
        )
    return table(columns, cells, empty="Nothing is alive.")
