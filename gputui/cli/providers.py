"""`gputui providers`: which accounts can be used, and what each provider can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gputui.cli.context import open_guarded_desk
from gputui.cli.output import emit, json_option, table
from gputui.cli.table import Column

if TYPE_CHECKING:
    from gputui.core.accounts import Account
    from gputui.core.desk import Desk
    from gputui.store.offers import ProviderStatus


@click.command()
@json_option
@click.pass_context
def providers(ctx: click.Context, as_json: bool) -> None:
    """List providers: whether each can be used and why not, what it can do, how its last refresh went."""
    from gputui.core.shapes import provider_shape
    from gputui.providers.base import capabilities_of
    from gputui.providers.registry import PROVIDERS, client_class

    desk = open_guarded_desk(ctx)
    accounts = {name: desk.accounts.account(name) for name in PROVIDERS}
    statuses = desk.provider_statuses()
    capabilities = {name: capabilities_of(client_class(name)) for name in PROVIDERS}
    emit(
        [provider_shape(account, statuses.get(name), capabilities[name]) for name, account in accounts.items()],
        as_json=as_json,
        human=lambda: f"{_states(desk, accounts, statuses)}\n\n{_abilities(capabilities)}",
    )


def _states(desk: Desk, accounts: dict[str, Account], statuses: dict[str, ProviderStatus]) -> str:
    columns = [
        Column("PROVIDER"),
        Column("USABLE"),
        Column("OFFERS", right=True),
        Column("FETCHED", right=True),
        Column("NOTE", shrinks=True),
    ]
    rows = []
    for name, account in accounts.items():
        status = statuses.get(name)
        rows.append(
            [
                name,
                "yes" if account.usable else "no",
                f"{status.offer_count:,}" if status else "–",
                _age(desk, status),
                account.problem or (status.error if status else None) or _key_note(account),
            ]
        )
    return table(columns, rows, empty="")


def _abilities(capabilities: dict[str, dict[str, bool]]) -> str:
    """Return what each provider can do, a capability a line."""
    columns = [Column("CAN"), *(Column(provider.upper()) for provider in capabilities)]
    known = sorted({name for able in capabilities.values() for name in able})
    rows = [[name, *("yes" if able.get(name) else "–" for able in capabilities.values())] for name in known]
    return table(columns, rows, empty="")


def _age(desk: Desk, status: ProviderStatus | None) -> str:
    from gputui.model.units import format_age

    if status is None or status.last_ok_ms is None:
        return "never"
    return format_age(desk.clock.now_ms() - status.last_ok_ms)


def _key_note(account: Account) -> str:
    return f"key from: {account.key_source}" if account.key_source else ""
