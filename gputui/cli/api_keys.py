"""`gputui api-keys`: keys to your accounts at the providers. (Keeping one on this machine is `gputui auth`.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk, title_of
from gputui.cli.output import emit, json_option, require_yes, say, table, yes_option
from gputui.cli.resources import conclude, one_provider, provider_option, providers_option, rows_of, the_one
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.model.types import ApiKey


@click.group("api-keys")
def api_keys() -> None:
    """Keys to your accounts at the providers. To keep one on this machine, see: gputui auth login."""


@api_keys.command("list")
@providers_option
@json_option
@click.pass_context
def list_all(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List keys. Their secrets cannot be shown again."""
    from gputui.core.resource_shapes import api_key_shape
    from gputui.core.resources import list_api_keys

    desk = open_guarded_desk(ctx)
    asked = ask(desk, list_api_keys(desk.accounts, providers))
    found = rows_of(asked)
    emit([api_key_shape(key) for key in found], as_json=as_json, human=lambda: _table(found))
    conclude(ctx, asked.problems)


@api_keys.command()
@click.argument("name")
@provider_option
@json_option
@click.pass_context
def create(ctx: click.Context, name: str, provider: str | None, as_json: bool) -> None:
    """Make a key called NAME. Prints its secret, which is told this once and not kept.

    It may do what the key in use may: spend money, too.
    """
    from gputui.core.resource_shapes import api_key_shape
    from gputui.core.resources import create_api_key

    desk = open_desk(ctx)
    where = one_provider(desk, "api-keys", provider)
    made = ask(desk, create_api_key(desk.accounts, where, name))
    say(f"Key {made.api_key.name} at {where} is made ({made.api_key.id}). Its secret is told this once:")
    emit({**api_key_shape(made.api_key), "secret": made.secret}, as_json=as_json, human=lambda: made.secret)


@api_keys.command()
@click.argument("key")
@providers_option
@yes_option
@json_option
@click.pass_context
def revoke(ctx: click.Context, key: str, providers: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Revoke a key at once and for ever. KEY is a name, an id or its beginning.

    Whatever uses it stops working; machines go on running and costing money.
    """
    from gputui.core.resource_shapes import api_key_shape
    from gputui.core.resources import list_api_keys, revoke_api_key

    desk = open_desk(ctx)
    asked = ask(desk, list_api_keys(desk.accounts, providers))
    found = the_one(
        rows_of(asked),
        key,
        what="API key",
        ids=lambda item: [item.id],
        names=lambda item: [item.name],
        shown=lambda item: f"{item.id} ({item.name}, {item.prefix or '?'}…)",
        problems=asked.problems,
        hint="See: gputui api-keys list",
    )
    own = (
        " This very program uses it: without another one it can neither see nor end your machines."
        if found.is_own
        else ""
    )
    require_yes(
        f"Revoke API key {found.name} ({found.prefix or found.id}…) at {title_of(found.provider)} for ever?{own}",
        yes=yes,
    )
    ask(desk, revoke_api_key(desk.accounts, found))
    emit(api_key_shape(found), as_json=as_json, human=lambda: f"Key {found.name} is revoked.")


def _table(found: list[ApiKey]) -> str:
    from gputui.model.units import iso_utc

    columns = [
        Column("NAME", shrinks=True),
        Column("PROVIDER"),
        Column("BEGINS"),
        Column("MADE"),
        Column("USED HERE"),
        Column("KEY", shrinks=True),
    ]
    rows = [
        [
            key.name or "–",
            key.provider,
            key.prefix or "–",
            (iso_utc(key.created_at_ms) or "–")[:10],
            "yes" if key.is_own else "–",
            key.id,
        ]
        for key in found
    ]
    return table(columns, rows, empty="There are no API keys.")
