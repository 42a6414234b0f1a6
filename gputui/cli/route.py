"""`gputui route`: what a job would run on, and why every other offer lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import ask, open_guarded_desk, tell_failures
from gputui.cli.output import emit, json_option, say
from gputui.cli.spec_options import candidate_table, rejection_table, spec_options

if TYPE_CHECKING:
    from gputui.core.routing import Plan

_SHOWN = 20


@click.command()
@spec_options
@json_option
@click.pass_context
def route(ctx: click.Context, /, as_json: bool, **wanted: Any) -> None:
    """Show which offers a job would be tried on, best first, and why each other one lost. Spends nothing."""
    from gputui.core.request import fresh_plan, make_spec
    from gputui.core.shapes import plan_shape

    spec = make_spec(**wanted, machine=True)  # a command changes nothing about where it runs
    desk = open_guarded_desk(ctx)
    plan, outcomes = ask(desk, fresh_plan(desk, spec))
    tell_failures(desk, outcomes)
    if not plan.quotes and not as_json and plan.rejections:
        click.echo(_losers(plan))
    plan.require_quote()
    emit(plan_shape(plan), as_json=as_json, human=lambda: _shown(plan))
    if not as_json:
        for name, reason in plan.unavailable.items():
            say(f"{name}: {reason}")


def _shown(plan: Plan) -> str:
    parts = [candidate_table(plan.quotes[:_SHOWN], expected_s=plan.spec.expected_s)]
    if len(plan.quotes) > _SHOWN:
        parts.append(f"… and {len(plan.quotes) - _SHOWN:,} more that fit; --json shows all.")
    if plan.rejections:
        parts.append(f"\n{_losers(plan)}")
    return "\n".join(parts)


def _losers(plan: Plan) -> str:
    shown = rejection_table(plan.rejections[:_SHOWN])
    hidden = len(plan.rejections) - _SHOWN
    return f"{shown}\n… and {hidden:,} more that do not fit; --json shows all." if hidden > 0 else shown
