"""`gputui run`: submit a job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import ask, open_desk, tell_failures
from gputui.cli.exits import ExitCode, exit_code_of_job
from gputui.cli.output import emit, json_option, require_yes, say, yes_option
from gputui.cli.spec_options import spec_options
from gputui.model.errors import AgentError, UsageError

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.routing import Plan
    from gputui.model.types import Job


@click.command()
@spec_options
@click.option(
    "--template",
    metavar="NAME",
    is_eager=True,  # whether there is one decides whether --gpu is needed
    help="Begin with what this template says; see: gputui templates.",
)
@click.option("--image", metavar="NAME", help="Container image; left out, the command runs on the machine itself.")
@click.option("--command", metavar="TEXT", help="What to run, in a shell.")
@click.option("--machine", is_flag=True, help="No command: rent a machine to log in to, until it is stopped.")
@click.option("--name", metavar="TEXT", help="A name for the job.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="A variable for the job; may be repeated."
)
@click.option("--os-image", metavar="NAME", help="Disk image to boot, where machines are virtual ones.")
@click.option("--max-duration", metavar="TIME", help='Stop it after so long, like 4h; "none" lifts a configured limit.')
@click.option(
    "--idle-stop",
    metavar="TIME[:PERCENT]",
    help="Stop it once every GPU was used less than 5 % (or PERCENT) for so long, like 30m.",
)
@click.option("--follow", "-f", is_flag=True, help="Stream the log and end with the job's exit code.")
@click.option("--dry-run", is_flag=True, help="Show what would be rented and end.")
@yes_option
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    template: str | None,
    variables: tuple[str, ...],
    follow: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Run a command on the best machine for it, then delete the machine.

    Shows what it will cost and asks. The job goes on whatever happens to this terminal; --follow only watches.
    Prints the job's id.
    """
    from gputui.core.request import fresh_plan, make_spec, parse_variables
    from gputui.core.shapes import job_shape, plan_shape
    from gputui.core.templates import load_templates, spec_from

    if follow and as_json:
        raise UsageError("--follow streams the log to stdout, where --json would print.", hint="Choose one of the two.")
    desk = open_desk(ctx)
    env, default_s = parse_variables(variables), desk.config.jobs.default_max_duration_s
    if template is None:
        spec = make_spec(**wanted, env=env, default_max_duration_s=default_s)
    else:
        spec = spec_from(load_templates(desk.paths.templates_file).named(template), env=env, **_said(ctx, wanted))
    plan, outcomes = ask(desk, fresh_plan(desk, spec))
    tell_failures(desk, outcomes)
    plan.require_quote()
    say(_summary(plan))
    if dry_run:
        emit(plan_shape(plan), as_json=as_json, human=lambda: "Nothing was rented.")
        return
    require_yes("Rent it?", yes=yes)
    job = _submit(desk, plan)
    if not follow:
        emit(job_shape(desk.job(job.id)), as_json=as_json, human=lambda: job.id)
        say(f"Watch: gputui jobs logs -f {job.name}    Stop: gputui jobs stop {job.name}")
        return
    say(f"· job {job.name} ({job.id}); Ctrl-C stops watching, not the job")
    ctx.exit(_watch(desk, job))


def _said(ctx: click.Context, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, not those that have their defaults."""
    default = click.core.ParameterSource.DEFAULT
    return {name: value for name, value in wanted.items() if ctx.get_parameter_source(name) is not default}


def _submit(desk: Desk, plan: Plan) -> Job:
    kept: list[Job] = []
    try:
        return desk.submit(plan.spec, on_kept=kept.append)
    except KeyboardInterrupt:
        for job in kept:
            say(_goes_on(job))
        raise
    except AgentError as error:
        raise AgentError(
            f"{error.message} The job is kept, queued, and starts once an agent does.",
            hint=error.hint or "See: gputui agent status",
        ) from error


def _goes_on(job: Job) -> str:
    return f"\nThe job goes on. Watch: gputui jobs logs -f {job.name}    Stop: gputui jobs stop {job.name}"


def _watch(desk: Desk, job: Job) -> int:
    from gputui.cli.follow import follow_job, tell_end

    try:
        report = follow_job(desk, job.id)
    except KeyboardInterrupt:
        say(_goes_on(job))
        return ExitCode.INTERRUPTED
    tell_end(report)
    return exit_code_of_job(report.job)


def _summary(plan: Plan) -> str:
    """Return what would be rented, what it can cost at most, and what keeps billing."""
    from gputui.core.catalog import provider_facts
    from gputui.core.metering import describe_billing
    from gputui.core.routing import format_rate, quote
    from gputui.model.units import format_duration, format_usd

    spec, best = plan.spec, plan.quotes[0]
    facts = provider_facts()[best.offer.provider]
    place = " ".join(part for part in (facts.title, best.offer.region, best.offer.tier.value) if part)
    what = spec.command or "a machine to log in to"
    lines = [
        f"{best.offer.gpu_count} × {best.offer.gpu} at {place}, {format_rate(best.offer.price_micro_usd_per_hour)}",
        f"  runs      {what}{f'  in {spec.image}' if spec.image else ''}",
    ]
    lines += [f"  volume    {volume.name} at {volume.mount_path}" for volume in plan.volumes]
    if spec.max_duration_s is not None:
        most = quote(best.offer, replace(spec, expected_s=spec.max_duration_s), facts).total_micro_usd
        lines.append(
            f"  at most   {format_usd(most)} $, for {format_duration(spec.max_duration_s)}; then it is stopped"
        )
    else:
        lines.append("  at most   no limit: it bills until it ends or is stopped (--max-duration sets one)")
    if spec.idle_stop_s is not None:
        lines.append(
            f"  idle      stopped once every GPU was used less than {spec.idle_threshold_percent} % for "
            f"{format_duration(spec.idle_stop_s)}"
        )
    lines.append(f"  billing   {describe_billing(facts.billing)}; the machine is deleted when the job is over")
    if len(plan.quotes) > 1:
        lines.append(f"  if taken  {_others(plan)}")
    return "\n".join(lines)


def _others(plan: Plan) -> str:
    from gputui.core.routing import format_rate

    others = plan.quotes[1:]
    dearest = max(quote.offer.price_micro_usd_per_hour for quote in others)
    count = f"{len(others)} other offer{'s' if len(others) > 1 else ''} may be tried, up to {format_rate(dearest)}"
    return count if plan.spec.max_price_micro_usd_per_hour is not None else f"{count} (--budget-max sets a cap)"
