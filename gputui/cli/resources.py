"""What the commands for things at the providers share: whom to ask, telling who failed, and finding what is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from gputui.cli.exits import exit_code_of
from gputui.cli.output import warn
from gputui.model.errors import GputuiError, NotFoundError, UsageError

if TYPE_CHECKING:
    from gputui.core.asking import Asked
    from gputui.core.desk import Desk

T = TypeVar("T")

providers_option = click.option(
    "--provider", "providers", multiple=True, metavar="NAME", help="Only there; may be repeated."
)
provider_option = click.option("--provider", metavar="NAME", help="Where; may be left out when only one provider can.")


def answers_of(asked: Asked[T]) -> Mapping[str, T]:
    """Return what providers answered. When none did, raises the first one's error and tells the others'."""
    if not asked.answers and asked.problems:
        first, *others = asked.problems
        tell(asked.problems, only=others)
        raise asked.problems[first]
    return asked.answers


def rows_of(asked: Asked[list[T]]) -> list[T]:
    """Return the items of every provider's answer, one after another; raises as `answers_of`."""
    return [item for items in answers_of(asked).values() for item in items]


def tell(problems: Mapping[str, GputuiError], *, only: Sequence[str] | None = None) -> None:
    """Tell on stderr what went wrong at which provider."""
    for name in problems if only is None else only:
        warn(f"{name}: {problems[name]}")


def conclude(ctx: click.Context, problems: Mapping[str, GputuiError]) -> None:
    """Tell who failed, and end with another code than 0 when somebody did: what was shown may not be all there is."""
    tell(problems)
    if problems:
        ctx.exit(exit_code_of(next(iter(problems.values()))))


def one_provider(desk: Desk, capability: str, named: str | None) -> str:
    """Return the provider named, or the only usable one that can. Raises NotSupported, AuthError, UsageError."""
    from gputui.core.asking import who_can

    able = who_can(desk.accounts, capability, [named] if named else [])
    if len(able) > 1:
        raise UsageError(f"Several providers can: {', '.join(able)}.", hint="Say which one, with --provider.")
    return able[0]


def the_one(
    items: Sequence[T],
    reference: str,
    *,
    what: str,
    ids: Callable[[T], Sequence[str]],
    names: Callable[[T], Sequence[str]] = lambda item: (),
    shown: Callable[[T], str],
    problems: Mapping[str, GputuiError],
    hint: str,
) -> T:
    """Return the item a person means, see `core.asking.pick`; tells why some could not be asked when it is not found."""
    from gputui.core.asking import pick

    try:
        return pick(items, reference, what=what, ids=ids, names=names, shown=shown, not_asked=list(problems), hint=hint)
    except NotFoundError:
        tell(problems)
        raise
