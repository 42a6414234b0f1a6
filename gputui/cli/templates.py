"""`gputui templates`: what `gputui run` is asked for with again and again. They are made in the terminal interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import open_desk
from gputui.cli.output import emit, json_option, require_yes, say, table, warn, yes_option
from gputui.cli.table import Column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gputui.core.templates import Template


@click.group()
def templates() -> None:
    """What to run, kept under a name: gputui run --template NAME."""


@templates.command("list")
@json_option
@click.pass_context
def list_templates(ctx: click.Context, as_json: bool) -> None:
    """List templates, and say which of them cannot be used and why."""
    from gputui.core.templates import load_templates

    found = load_templates(open_desk(ctx).paths.templates_file)
    for problem in found.problems:
        warn(problem)
    kept = found.usable.values()
    emit([_shape(template) for template in kept], as_json=as_json, human=lambda: _table(kept))


@templates.command()
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one, as the file has it."""
    import json

    from gputui.core.templates import document_of, load_templates

    template = load_templates(open_desk(ctx).paths.templates_file).named(name)
    emit(
        _shape(template),
        as_json=as_json,
        human=lambda: json.dumps(document_of(template), ensure_ascii=True, indent=2),
    )


@templates.command()
@click.argument("name")
@yes_option
@json_option
@click.pass_context
def delete(ctx: click.Context, name: str, yes: bool, as_json: bool) -> None:
    """Delete one; jobs made from it stay as they are."""
    from gputui.core.templates import delete_template, load_templates

    path = open_desk(ctx).paths.templates_file
    found = load_templates(path)
    if found.problem_of(name) is None:
        found.named(name)  # one that cannot be used can be deleted all the same
    require_yes(f"Delete the template {name}?", yes=yes)
    delete_template(path, name)
    emit({"name": name, "deleted": True}, as_json=as_json, human=lambda: name)
    say("Deleted.")


def _shape(template: Template) -> dict[str, object]:
    from gputui.core.templates import document_of

    return {"template": template.name, **document_of(template)}


def _table(kept: Iterable[Template]) -> str:
    from gputui.model.units import short_duration

    columns = [Column("NAME"), Column("GPU"), Column("AT MOST"), Column("LEFT OUT"), Column("RUNS", shrinks=True)]
    rows = [
        [
            template.name,
            f"{template.spec.gpu_count} × {template.spec.gpu}",
            short_duration(template.spec.max_duration_s) if template.spec.max_duration_s else "no limit",
            ", ".join(template.left_out) or "–",
            template.spec.command or "a machine to log in to",
        ]
        for template in kept
    ]
    return table(
        columns, rows, empty="There is no template. The deploy form of the terminal interface saves one: ctrl+s."
    )
