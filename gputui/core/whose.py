"""Whether a provider's "no such machine" speaks of the account that the machine was ordered under.

A key swapped for one of another account is answered 404 for every machine of ours. That must never read as "gone": the
machine goes on costing money in the first account. So the placement keeps a fingerprint of the key it was ordered with
and, once it was seen, the provider's own name for the account; an absence is believed from the same key or account only.
"""

from __future__ import annotations

from gputui.core.crew import Crew
from gputui.providers.registry import provider_title
from gputui.store import jobs as job_store
from gputui.store import wishes as wish_store
from gputui.store.alarms import AlarmKind


async def absence_counts(crew: Crew, placement_id: str) -> bool:
    """True when what the present key does not see of a placement's machine is not there; else the user is told."""
    # As it is now: the user may have vouched for the key since.
    placement = job_store.load_placement(crew.store, placement_id)
    if placement is None or await _counts(crew, placement.provider, placement.key_print, placement.account):
        return True
    if _sound(crew, placement.provider):
        crew.journal.note(
            placement.job_id,
            "not believed to be gone: the key has changed and may be of another account",
            placement_id=placement.id,
            facts={"loud": True},
        )
    return False


async def wished_absence_counts(crew: Crew, wish_id: str) -> bool:
    """The same for a machine that was wished gone."""
    wish = wish_store.load_termination_by_id(crew.store, wish_id)
    if wish is None or await _counts(crew, wish.provider, wish.key_print, None):
        return True
    _sound(crew, wish.provider)
    return False


def saw_machine(crew: Crew, placement_id: str) -> None:
    """Note that the present key sees a placement's machine: keys that see the same one are of one account."""
    placement = job_store.load_placement(crew.store, placement_id)
    if placement is None:
        return
    present = crew.accounts.fingerprint(placement.provider)
    if present is not None and present != placement.key_print:
        with crew.journal.entry() as entry:
            job_store.update_placement(entry.tx, placement.id, key_print=present)
            if placement.key_print is not None:
                job_store.replace_key_print(entry.tx, placement.provider, placement.key_print, present)
    crew.alarms.end(AlarmKind.OTHER_ACCOUNT, placement.provider)


async def note_account(crew: Crew, placement_id: str) -> None:
    """Keep what the provider calls the account that sees a placement's machine, where it tells."""
    saw_machine(crew, placement_id)
    placement = job_store.load_placement(crew.store, placement_id)
    if placement is not None and placement.account is None:
        identity = await crew.accounts.identity(placement.provider)
        if identity is not None:
            with crew.journal.entry() as entry:
                job_store.update_placement(entry.tx, placement.id, account=identity)


async def _counts(crew: Crew, provider: str, key_print: str | None, account: str | None) -> bool:
    present = crew.accounts.fingerprint(provider)
    is_other_key = key_print is not None and present is not None and present != key_print
    if is_other_key and (account is None or account != await crew.accounts.identity(provider)):
        return False
    crew.alarms.end(AlarmKind.OTHER_ACCOUNT, provider)
    return True


def _sound(crew: Crew, provider: str) -> bool:
    return crew.alarms.sound(
        AlarmKind.OTHER_ACCOUNT,
        provider,
        f"The key of {provider_title(provider)} has changed, and the new one does not see a machine of ours, "
        "which may be in another account.",
        f"Give back the key of the first account (run: gputui auth login {provider}). If both are of one account, "
        f"say so: gputui auth same-account {provider}",
        provider=provider,
        rate=crew.alarms.rate_at(provider),
    )
