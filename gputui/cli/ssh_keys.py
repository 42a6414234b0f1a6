"""`gputui ssh-keys`: the user's own public keys at the providers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk
from gputui.cli.output import emit, json_option, require_yes, table, yes_option
from gputui.cli.resources import answers_of, conclude, providers_option, the_one
from gputui.cli.table import Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gputui.core.resources import KeyAdded, KeyRow
    from gputui.model.errors import GputuiError


@click.group("ssh-keys")
def ssh_keys() -> None:
    """Public SSH keys registered at the providers. A key is the same wherever its fingerprint is."""


@ssh_keys.command("list")
@providers_option
@json_option
@click.pass_context
def list_keys(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """Show which key is registered where.

    Ends with another code than 0 when a provider could not be asked: the list may then not be all there is.
    """
    from gputui.core.asking import who_can
    from gputui.core.resource_shapes import key_row_shape
    from gputui.core.resources import list_ssh_keys

    desk = open_guarded_desk(ctx)
    asked = who_can(desk.accounts, "ssh-keys", providers)
    rows, problems = ask(desk, list_ssh_keys(desk.accounts, providers))
    emit([key_row_shape(row) for row in rows], as_json=as_json, human=lambda: _matrix(rows, asked, problems))
    conclude(ctx, problems)


@ssh_keys.command()
@providers_option
@click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="The public key, such as ~/.ssh/id_ed25519.pub.",
)
@click.option("--name", help="What it is called there; its comment, or else the file's name, when left out.")
@json_option
@click.pass_context
def add(ctx: click.Context, providers: tuple[str, ...], path: Path, name: str | None, as_json: bool) -> None:
    """Register a public key at the providers named, or at all that can. Where it is already it stays as it is.

    Machines that run are not given it.
    """
    from gputui.core.resource_shapes import key_added_shape
    from gputui.core.resources import add_ssh_key, read_public_key

    path = path.expanduser()
    key = read_public_key(path)
    desk = open_desk(ctx)
    asked = ask(desk, add_ssh_key(desk.accounts, key, name or key.comment or path.stem, providers))
    added = answers_of(asked)
    emit([key_added_shape(item) for item in added.values()], as_json=as_json, human=lambda: _added(added))
    conclude(ctx, asked.problems)


@ssh_keys.command()
@click.argument("key")
@providers_option
@yes_option
@json_option
@click.pass_context
def delete(ctx: click.Context, key: str, providers: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove a public key from every provider, or from those named. KEY is a fingerprint, a name or an id.

    Machines that were made with it keep it.
    """
    from gputui.core.resource_shapes import key_row_shape
    from gputui.core.resources import delete_ssh_key, list_ssh_keys

    desk = open_desk(ctx)
    rows, problems = ask(desk, list_ssh_keys(desk.accounts, providers))
    row = the_one(
        rows,
        key,
        what="key",
        ids=_ids,
        names=lambda item: [item.name, *(registered.name for registered in item.registrations)],
        shown=lambda item: item.fingerprint or item.name,
        problems=problems,
        hint="See: gputui ssh-keys list",
    )
    where = ", ".join(row.at)
    require_yes(f"Remove key {row.name or key} ({row.fingerprint or 'unknown fingerprint'}) from {where}?", yes=yes)
    asked = ask(desk, delete_ssh_key(desk.accounts, row))
    done = ", ".join(answers_of(asked))
    emit({**key_row_shape(row), "removed_from": list(asked.answers)}, as_json=as_json, human=lambda: f"Gone at {done}.")
    conclude(ctx, {**problems, **asked.problems})


def _ids(row: KeyRow) -> list[str]:
    fingerprint = row.fingerprint or ""
    return [fingerprint, fingerprint.removeprefix("SHA256:"), *(key.id for key in row.registrations)]


def _added(added: Mapping[str, KeyAdded]) -> str:
    columns = [Column("PROVIDER"), Column("KEY"), Column("NAME", shrinks=True), Column("ID", shrinks=True)]
    rows = [
        [name, "was there" if item.was_there else "added", item.key.name, item.key.id] for name, item in added.items()
    ]
    return table(columns, rows, empty="")


def _matrix(rows: list[KeyRow], asked: Sequence[str], problems: Mapping[str, GputuiError]) -> str:
    """Return a line per key and a column per provider: yes, no ("–"), or "?" where the provider did not answer."""
    columns = [Column("NAME", shrinks=True), Column("FINGERPRINT", shrinks=True)]
    columns += [Column(name.upper()) for name in asked]
    cells = [
        [
            row.name or "–",
            row.fingerprint or "not told",
            *("?" if name in problems else "yes" if name in row.at else "–" for name in asked),
        ]
        for row in rows
    ]
    return table(columns, cells, empty="No keys are registered.")
