"""`gputui webhooks`: addresses that a provider calls when something happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import ask, open_desk, open_guarded_desk, title_of
from gputui.cli.output import emit, json_option, require_yes, say, table, yes_option
from gputui.cli.resources import conclude, one_provider, provider_option, providers_option, rows_of, the_one
from gputui.cli.table import Column
from gputui.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputui.core.desk import Desk
    from gputui.model.types import Webhook


@click.group()
def webhooks() -> None:
    """Addresses that a provider calls when something happens to your machines."""


@webhooks.command("list")
@providers_option
@json_option
@click.pass_context
def list_all(ctx: click.Context, providers: tuple[str, ...], as_json: bool) -> None:
    """List webhooks. Their secrets cannot be shown again."""
    from gputui.core.resource_shapes import webhook_shape
    from gputui.core.resources import list_webhooks

    desk = open_guarded_desk(ctx)
    asked = ask(desk, list_webhooks(desk.accounts, providers))
    found = rows_of(asked)
    emit([webhook_shape(webhook) for webhook in found], as_json=as_json, human=lambda: _table(found))
    conclude(ctx, asked.problems)


@webhooks.command()
@click.argument("url")
@click.option(
    "--event", "events", multiple=True, metavar="NAME", help="Only for this; may be repeated. All when left out."
)
@provider_option
@json_option
@click.pass_context
def create(ctx: click.Context, url: str, events: tuple[str, ...], provider: str | None, as_json: bool) -> None:
    """Have the provider call URL. Prints the secret its calls are signed with, which is told this once and not kept."""
    from gputui.core.resource_shapes import webhook_shape
    from gputui.core.resources import create_webhook

    desk = open_desk(ctx)
    name = one_provider(desk, "webhooks", provider)
    made = ask(desk, create_webhook(desk.accounts, name, url, events))
    say(f"Webhook {made.webhook.id} at {title_of(name)} is made. Its secret is told this once:")
    emit({**webhook_shape(made.webhook), "secret": made.secret}, as_json=as_json, human=lambda: made.secret)


@webhooks.command()
@click.argument("webhook")
@click.option("--url", help="Call this address from now on.")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only for this from now on; may be repeated.")
@click.option("--on/--off", "is_active", default=None, help="Switch it on or off.")
@providers_option
@json_option
@click.pass_context
def change(
    ctx: click.Context,
    webhook: str,
    url: str | None,
    events: tuple[str, ...],
    is_active: bool | None,
    providers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a webhook; what is not named stays. WEBHOOK is an id or its beginning."""
    from gputui.core.resource_shapes import webhook_shape
    from gputui.core.resources import change_webhook

    if url is None and not events and is_active is None:
        raise UsageError("There is nothing to change.", hint="Give --url, --event, --on or --off.")
    desk = open_desk(ctx)
    found = _find(desk, webhook, providers)
    changed = ask(desk, change_webhook(desk.accounts, found, url=url, events=events or None, is_active=is_active))
    emit(webhook_shape(changed), as_json=as_json, human=lambda: _table([changed]))


@webhooks.command()
@click.argument("webhook")
@providers_option
@yes_option
@json_option
@click.pass_context
def delete(ctx: click.Context, webhook: str, providers: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete a webhook. WEBHOOK is an id or its beginning."""
    from gputui.core.resource_shapes import webhook_shape
    from gputui.core.resources import delete_webhook

    desk = open_desk(ctx)
    found = _find(desk, webhook, providers)
    require_yes(
        f"Delete webhook {found.id} at {title_of(found.provider)}, so that {found.url} is not called any more?", yes=yes
    )
    ask(desk, delete_webhook(desk.accounts, found))
    emit(webhook_shape(found), as_json=as_json, human=lambda: f"Webhook {found.id} is gone.")


def _find(desk: Desk, reference: str, providers: Sequence[str]) -> Webhook:
    from gputui.core.resources import list_webhooks

    asked = ask(desk, list_webhooks(desk.accounts, providers))
    return the_one(
        rows_of(asked),
        reference,
        what="webhook",
        ids=lambda item: [item.id],
        names=lambda item: [item.url],
        shown=lambda item: f"{item.id} ({item.url})",
        problems=asked.problems,
        hint="See: gputui webhooks list",
    )


def _table(found: list[Webhook]) -> str:
    columns = [
        Column("PROVIDER"),
        Column("ACTIVE"),
        Column("URL", shrinks=True),
        Column("EVENTS", shrinks=True),
        Column("WEBHOOK", shrinks=True),
    ]
    active = {True: "yes", False: "no", None: "–"}
    rows = [[hook.provider, active[hook.is_active], hook.url, ", ".join(hook.events), hook.id] for hook in found]
    return table(columns, rows, empty="There are no webhooks.")
