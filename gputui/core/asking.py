"""Asking several providers the same thing side by side, and saying which of them can do what was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gputui.core.accounts import Accounts
from gputui.model.errors import AuthError, GputuiError, Malformed, NotFoundError, NotSupported, UsageError
from gputui.providers.registry import client_class, provider_title

LIST_DEADLINE_S = 20.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """Answers of several providers: what they said, and why the others did not."""

    answers: Mapping[str, T]
    problems: Mapping[str, GputuiError]


async def ask_all(accounts: Accounts, names: Sequence[str], question: Callable[[Any], Awaitable[T]]) -> Asked[T]:
    """Ask the clients of several accounts at once, each within a deadline."""
    import asyncio  # a tenth of a second that views which only read the store do not pay

    async def ask(name: str) -> T | GputuiError:
        try:
            async with asyncio.timeout(LIST_DEADLINE_S):
                return await question(accounts.client(name))
        except TimeoutError:
            return GputuiError(f"{provider_title(name)} did not answer within {LIST_DEADLINE_S:.0f} s.")
        except GputuiError as error:
            return error
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            # A client that trips over an answer must not hide what the others say.
            kind, title = type(error).__name__, provider_title(name)
            return Malformed(f"{title} sent an answer that could not be read ({kind}).", provider=name)

    results = await asyncio.gather(*(ask(name) for name in names))
    paired = dict(zip(names, results, strict=True))
    return Asked(
        {name: answer for name, answer in paired.items() if not isinstance(answer, GputuiError)},
        {name: answer for name, answer in paired.items() if isinstance(answer, GputuiError)},
    )


def who_can(accounts: Accounts, capability: str, named: Sequence[str] = ()) -> list[str]:
    """Return the providers to ask: those named, else every usable one that can.

    `capability` is a name of `providers.base.CAPABILITIES`. Raises NotFoundError for an unknown provider, NotSupported
    when one that was named cannot, AuthError when one that was named, or all that can, cannot be used now.
    """
    able = [name for name in accounts.names() if _can(name, capability)]
    what = _WORDS.get(capability, capability)
    for name in named:
        account = accounts.account(name)
        if not _can(name, capability):
            others = f"These have: {', '.join(able)}." if able else None
            raise NotSupported(f"{account.info.title} has no {what}.", provider=name, hint=others)
        if account.problem is not None:
            raise AuthError(f"{account.label}: {account.problem}", provider=name)
    if named:
        return list(dict.fromkeys(named))
    if not able:
        raise NotSupported(f"No provider that is switched on has {what}.")
    usable = [name for name in able if accounts.account(name).usable]
    if not usable:
        raise AuthError(
            f"There is no key for a provider that has {what} ({', '.join(map(provider_title, able))}).",
            hint=f"Run: gputui auth login {able[0]}",
        )
    return usable


def pick(
    items: Sequence[T],
    reference: str,
    *,
    what: str,
    ids: Callable[[T], Sequence[str]],
    names: Callable[[T], Sequence[str]],
    shown: Callable[[T], str],
    not_asked: Sequence[str] = (),
    hint: str | None = None,
) -> T:
    """Return the item a person means, by an id, a name or the beginning of an id. Pure.

    Raises NotFoundError (naming the providers that were not asked), UsageError when several fit.
    """
    found = [item for item in items if reference in ids(item)]
    found = found or [item for item in items if reference and reference in names(item)]
    found = found or [item for item in items if reference and any(one.startswith(reference) for one in ids(item))]
    if len(found) == 1:
        return found[0]
    if found:
        fitting = ", ".join(map(shown, found))
        raise UsageError(f"{reference!r} fits more than one {what}: {fitting}.", hint="Give an id, or the provider.")
    but = f" among those that could be asked (not: {', '.join(not_asked)})" if not_asked else ""
    raise NotFoundError(f"There is no {what} {reference!r}{but}.", hint=hint)


def _can(name: str, capability: str) -> bool:
    from gputui.providers.base import capabilities_of

    return capabilities_of(client_class(name))[capability]


# What a provider without the capability has not.
_WORDS = {
    "ssh-keys": "SSH keys to manage",
    "os-images": "images to choose from",
    "api-keys": "API keys that can be managed by API",
}
