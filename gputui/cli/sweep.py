"""`gputui machines sweep`: what exists at the providers that no job accounts for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, tell_problems, title_of
from gputui.cli.exits import exit_code_of
from gputui.cli.output import emit, json_option, require_yes, say, table, yes_option
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.sweep import Swept
    from gputui.store.findings import Finding

WAIT_DEADLINE_S = 600

_WORDS = {
    "lost": "LOST: ours, no job has it",
    "unrecorded": "our label, not known here",
    "other-profile": "of another profile",
    "stranger": "not ours",
    "stopped": "of a job, switched off",
    "volume": "volume, not attached",
}


@click.command()
@click.option("--terminate-lost", is_flag=True, help="Delete the machines that are ours and that no job has.")
@click.option("--no-wait", is_flag=True, help="Do not wait until they are gone.")
@yes_option
@json_option
@click.pass_context
def sweep(ctx: click.Context, terminate_lost: bool, no_wait: bool, yes: bool, as_json: bool) -> None:
    """Look through every account for lost machines, strangers and volumes attached to nothing.

    A machine counts as lost when it was seen twice, half a minute apart. Nothing that is not ours is ever touched. Ends
    with another code than 0 when a provider could not be asked: there may then be more than what is shown.
    """
    from gputui.core.shapes import finding_shape

    desk = open_desk(ctx)
    swept = ask(desk, desk.sweep())
    deleted: list[Finding] = []
    if terminate_lost:
        swept = _second_look(desk, swept)
        deleted = _terminate(desk, swept, yes=yes, wait=not no_wait)
    findings = desk.findings()  # without what is gone by now
    emit(
        {
            "findings": [finding_shape(finding) for finding in findings],
            "problems": {name: str(error) for name, error in swept.problems.items()},
            "terminated": [finding.id for finding in deleted],
        },
        as_json=as_json,
        human=lambda: _table(desk, findings),
    )
    tell_problems(swept.problems)
    if swept.problems:
        ctx.exit(exit_code_of(next(iter(swept.problems.values()))))


def _second_look(desk: Desk, swept: Swept) -> Swept:
    """Sweep once more when something was seen only once, and so may be on its way in or out."""
    from gputui.core import sweep as sweeps

    if not any(sweeps.may_be_lost(finding) and finding.provider not in swept.problems for finding in swept.findings):
        return swept
    say(f"Looking a second time in {sweeps.SIGHTING_GAP_S:.0f} s …")
    time.sleep(sweeps.SIGHTING_GAP_S)
    return ask(desk, desk.sweep())


def _terminate(desk: Desk, swept: Swept, *, yes: bool, wait: bool) -> list[Finding]:
    from gputui.cli.waiting import wait_until
    from gputui.core.sweep import is_confirmed_lost

    lost = [finding for finding in swept.findings if is_confirmed_lost(finding)]
    if not lost:
        say("No machine is lost.")
        return []
    names = ", ".join(f"{finding.id} ({title_of(finding.provider)})" for finding in lost)
    require_yes(f"Delete {names} and everything on {'its disk' if len(lost) == 1 else 'their disks'}?", yes=yes)
    desk.terminate_lost()
    if wait:
        say(f"Waiting until {names} {'is' if len(lost) == 1 else 'are'} gone …")
        wait_until(
            desk,
            lambda: all((wish := desk.termination(finding)) and wish.gone_at_ms for finding in lost),
            deadline_s=WAIT_DEADLINE_S,
            otherwise="Not all of them are gone, and they may go on costing money; the agent goes on trying.",
            hint="Look again with: gputui machines sweep",
        )
        say(f"Gone: {names}.")
    return lost


def _table(desk: Desk, findings: list[Finding]) -> str:
    from gputui.model.units import format_age, format_usd

    now_ms = desk.clock.now_ms()
    columns = [
        Column("WHAT"),
        Column("PROVIDER"),
        Column("ID", shrinks=True),
        Column("LABEL", shrinks=True),
        Column("STATE"),
        Column("$/H", right=True),
        Column("$/MONTH", right=True),
        Column("SINCE", right=True),
        Column("SEEN", right=True),
    ]
    cells = [
        [
            _WORDS[finding.kind.value],
            finding.provider,
            finding.id,
            finding.label or "–",
            finding.state or "–",
            format_usd(finding.rate_micro_usd_per_hour),
            format_usd(finding.price_micro_usd_per_month),
            format_age(now_ms - finding.first_seen_ms),
            "once" if finding.sightings == 1 else f"{finding.sightings} times",
        ]
        for finding in findings
    ]
    return table(columns, cells, empty="Everything that exists is accounted for.")
