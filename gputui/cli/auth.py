"""`gputui auth`: the keys of providers, where they are kept and whether they work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import ask, open_desk, title_of
from gputui.cli.exits import ExitCode, exit_code_of
from gputui.cli.output import emit, json_option, require_yes, say, table, warn, yes_option
from gputui.cli.table import Column
from gputui.model.errors import (
    AgentError,
    AuthError,
    GputuiError,
    SecretsError,
    UsageError,
    VaultLocked,
)

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.local.secrets import Backend, KeyFound, Secrets
    from gputui.providers.base import KeyCheck
    from gputui.providers.registry import ProviderInfo

_MAX_KEY_BYTES = 64 * 1024
_STORES = ("keyring", "vault")


@click.group()
def auth() -> None:
    """Keys of providers: keep one, remove one, see where each comes from, test them."""


@auth.command()
@click.argument("provider")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the key from standard input (the default when piped).")
@click.option("--backend", type=click.Choice(["keyring", "vault", "plain"]), help="Where to keep it.")
@click.option("--insecure-storage", is_flag=True, help="Allow keeping it in plain text, in a file of mode 0600.")
@yes_option
@json_option
@click.pass_context
def login(
    ctx: click.Context,
    provider: str,
    from_stdin: bool,
    backend: str | None,
    insecure_storage: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Keep the key of PROVIDER: in the OS keyring when it is ready, else in the encrypted vault."""
    from gputui.model.keys import check_key_text
    from gputui.providers.registry import foreign_key_hint, provider_info

    info = provider_info(provider)
    if not info.needs_key:
        raise UsageError(f"{info.title} needs no key.")
    desk = open_desk(ctx)
    secrets = desk.secrets
    interactive = _is_terminal() and not from_stdin
    chosen = _choose_backend(secrets, provider, backend, insecure_storage)
    place = secrets.backend(chosen, provider)
    say(f"The {info.title} key will be kept in {place.where} ({place.reason}).")
    if interactive and not yes:
        click.confirm("Go on?", default=True, abort=True, err=True)
    key = check_key_text(provider, _prompt_key(info) if interactive else _read_stdin())
    if hint := foreign_key_hint(provider, key):
        warn(f"this may not be a {info.title} key. {hint}")
    passphrase = _ask_passphrase(secrets) if chosen == "vault" and interactive else None
    where = secrets.store(provider, key, chosen, passphrase)
    in_use = _key_in_use(secrets, info)
    shadowed_by = in_use.where if in_use is not None and in_use.source.value != chosen.value else None
    if shadowed_by:
        warn(f"the key in {shadowed_by} comes first and is the one in use; remove it there to use this one.")
    _tell_agent(desk)
    emit(
        {"provider": provider, "backend": chosen.value, "where": where, "shadowed_by": shadowed_by},
        as_json=as_json,
        human=lambda: f"Kept in {where}. Check it: gputui auth test {provider}",
    )


@auth.command()
@click.argument("provider")
@yes_option
@json_option
@click.pass_context
def logout(ctx: click.Context, provider: str, yes: bool, as_json: bool) -> None:
    """Remove the key of PROVIDER from every place we keep keys in; it stays valid at the provider."""
    from gputui.providers.registry import provider_info

    info = provider_info(provider)
    desk = open_desk(ctx)
    secrets = desk.secrets
    require_yes(f"Remove the {info.title} key from this machine?", yes=yes)
    try:
        forgotten = secrets.delete(provider)
    except VaultLocked:
        if not _is_terminal():
            raise
        forgotten = secrets.delete(provider, _ask_passphrase(secrets))
    for reason in forgotten.not_checked:
        warn(f"one place could not be looked into. {reason}")
    still = _key_in_use(secrets, info)
    if still is not None:
        warn(f"a key is still set in {still.where}, which is not ours to remove.")
    if desk.agent_state().pid is not None:
        warn("the running agent still has the key and guards machines with it until it ends (gputui agent stop).")
    emit(
        {
            "provider": provider,
            "removed": list(forgotten.removed),
            "not_checked": list(forgotten.not_checked),
            "still_in": still.where if still else None,
        },
        as_json=as_json,
        human=lambda: (
            f"Removed from {' and '.join(forgotten.removed)}." if forgotten.removed else "There was no key kept."
        ),
    )


@auth.command()
@json_option
@click.pass_context
def whoami(ctx: click.Context, as_json: bool) -> None:
    """Show for each provider which key is in use and where it comes from; of a key, only its last four characters."""
    from gputui.providers.registry import PROVIDERS

    secrets = open_desk(ctx).secrets
    rows = [_who(secrets, info) for info in PROVIDERS.values() if info.needs_key]
    emit(rows, as_json=as_json, human=lambda: _who_table(rows))


@auth.command()
@click.argument("provider", required=False)
@json_option
@click.pass_context
def test(ctx: click.Context, provider: str | None, as_json: bool) -> None:
    """Ask PROVIDER (or each one with a key) a question that changes nothing, to see whether the key works.

    Ends with 4 when a key is refused or missing and with 7 when a provider cannot be reached.
    """
    from gputui.providers.registry import provider_info

    desk = open_desk(ctx)
    if provider is not None:
        _open_vault(desk.secrets, [provider_info(provider)])
        row = _check_row(provider, ask(desk, _check(desk, provider)))
        emit(row, as_json=as_json, human=lambda: _check_table([row]))
        return
    infos = _with_key(desk.secrets)
    if not infos:
        raise AuthError("No provider has a key here.", hint="Run: gputui auth login PROVIDER")
    _open_vault(desk.secrets, infos)
    names = [info.name for info in infos]
    outcomes = ask(desk, _check_all(desk, names))
    rows = [_check_row(name, outcome) for name, outcome in zip(names, outcomes, strict=True)]
    emit(rows, as_json=as_json, human=lambda: _check_table(rows))
    errors = [outcome for outcome in outcomes if isinstance(outcome, GputuiError)]
    if errors:
        ctx.exit(_exit_code(errors))


@auth.command()
@json_option
@click.pass_context
def unlock(ctx: click.Context, as_json: bool) -> None:
    """Check that the vault opens: with the passphrase of the environment, else with the one typed.

    Nothing stays open when this command ends.
    """
    secrets = open_desk(ctx).secrets
    must_ask = secrets.vault_exists() and secrets.needs_passphrase() and _is_terminal()
    holds = secrets.unlock(_prompt_passphrase() if must_ask else None)
    emit(
        {"holds": list(holds)},
        as_json=as_json,
        human=lambda: f"The passphrase opens the vault. It holds keys of: {', '.join(holds) or 'no provider'}.",
    )


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _prompt_key(info: ProviderInfo) -> str:
    key: str = click.prompt(f"{info.title} key (from {info.key_page})", hide_input=True, err=True)
    return key


def _read_stdin() -> str:
    content = sys.stdin.buffer.read(_MAX_KEY_BYTES + 1)
    if len(content) > _MAX_KEY_BYTES:
        raise UsageError("What came on standard input is far too long to be a key.")
    return content.decode(errors="replace")


def _choose_backend(secrets: Secrets, provider: str, wanted: str | None, insecure_storage: bool) -> Backend:
    """Return where to keep a key: the place asked for if it can be used, else the keyring, else the vault."""
    from gputui.local.secrets import Backend

    if wanted == Backend.PLAIN and not insecure_storage:
        raise UsageError("Keeping a key in plain text has to be asked for.", hint="Add --insecure-storage.")
    if insecure_storage and wanted not in (None, Backend.PLAIN):
        raise UsageError(f"--insecure-storage and --backend {wanted} contradict each other.")
    if insecure_storage:
        return Backend.PLAIN
    if wanted is None:
        return Backend.KEYRING if secrets.backend(Backend.KEYRING, provider).usable else Backend.VAULT
    status = secrets.backend(Backend(wanted), provider)
    if not status.usable:
        raise SecretsError(f"The {wanted} cannot take a key: {status.reason}.")
    return status.name


def _ask_passphrase(secrets: Secrets) -> str | None:
    """Ask for the vault's passphrase, twice when it is a new vault; None when none is needed."""
    return _prompt_passphrase(new=not secrets.vault_exists()) if secrets.needs_passphrase() else None


def _prompt_passphrase(*, new: bool = False) -> str:
    text = "A passphrase for the new vault" if new else "Passphrase of the vault"
    passphrase: str = click.prompt(text, hide_input=True, confirmation_prompt=new, err=True)
    return passphrase


def _open_vault(secrets: Secrets, infos: list[ProviderInfo]) -> None:
    """Ask for the passphrase when one of the keys is in the locked vault and somebody is there to type it."""
    from gputui.local.secrets import KeySource

    last_rungs = [secrets.status(info.name, info.key_variables)[-1] for info in infos]
    locked = any(rung.source is KeySource.VAULT and isinstance(rung.problem, VaultLocked) for rung in last_rungs)
    if locked and _is_terminal():
        secrets.unlock(_ask_passphrase(secrets))


def _key_in_use(secrets: Secrets, info: ProviderInfo) -> KeyFound | None:
    return secrets.status(info.name, info.key_variables)[-1].found


def _with_key(secrets: Secrets) -> list[ProviderInfo]:
    """Return the providers that have a key, or one that cannot be read."""
    from gputui.providers.registry import PROVIDERS

    found = []
    for info in PROVIDERS.values():
        if info.needs_key:
            last = secrets.status(info.name, info.key_variables)[-1]
            if last.served or last.problem is not None:
                found.append(info)
    return found


def _who(secrets: Secrets, info: ProviderInfo) -> dict[str, Any]:
    rungs = secrets.status(info.name, info.key_variables)
    last = rungs[-1]
    return {
        "provider": info.name,
        "backend": last.source.value if last.served else None,
        "source": last.where if last.served else None,
        "last_four": last.found.last_characters if last.found else None,
        "problem": last.reason if last.problem else None,
        "looked_at": [{"backend": rung.source.value, "where": rung.where, "said": rung.reason} for rung in rungs],
    }


@auth.command("same-account")
@click.argument("provider")
@yes_option
@json_option
@click.pass_context
def same_account(ctx: click.Context, provider: str, yes: bool, as_json: bool) -> None:
    """Say that a changed key is of the same account as before, where the provider itself does not tell.

    Until then a machine that only the earlier key has seen is not believed to be gone when the new key does not see it:
    in another account it would go on costing money.
    """
    from gputui.providers.registry import provider_info

    title = provider_info(provider).title
    desk = open_desk(ctx)
    require_yes(f"Is the present key of {title} of the account in which your machines there were ordered?", yes=yes)
    count = desk.vouch_for_key(provider)
    desk.guard()
    emit(
        {"provider": provider, "machines": count},
        as_json=as_json,
        human=lambda: f"The present key of {title} is believed for {count} machine{'' if count == 1 else 's'}.",
    )


def _who_table(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        if row["backend"]:
            warning = " (PLAIN TEXT)" if row["backend"] == "plain" else ""
            cells.append([row["provider"], f"…{row['last_four']}", f"{row['source']}{warning}"])
        else:
            said = [f"{rung['backend']}: {rung['said']}" for rung in row["looked_at"] if rung["backend"] in _STORES]
            cells.append([row["provider"], "–" if row["problem"] else "none", row["problem"] or "; ".join(said)])
    return table([Column("PROVIDER"), Column("KEY"), Column("FROM")], cells, empty="No provider needs a key.")


def _tell_agent(desk: Desk) -> None:
    """Hand the new key to the agent, which may be waiting for it to end a machine. Trouble is told: the key is kept."""
    try:
        if desk.agent_state().pid is None:
            desk.guard()
        else:
            desk.ensure_agent()
    except AgentError as error:
        warn(f"the agent does not know the new key: {error}")


async def _check(desk: Desk, name: str) -> KeyCheck:
    """Ask a provider about its key. Raises AuthError when it says no, any other ProviderError when it says nothing."""
    check = await desk.client(name).check_key()
    if not check.ok:
        raise AuthError(check.detail or f"{title_of(name)} refused the key.", provider=name, operation="check the key")
    return check


async def _check_all(desk: Desk, names: list[str]) -> list[KeyCheck | GputuiError]:
    import asyncio

    async def outcome(name: str) -> KeyCheck | GputuiError:
        try:
            return await _check(desk, name)
        except GputuiError as error:
            return error

    return list(await asyncio.gather(*(outcome(name) for name in names)))


def _check_row(name: str, outcome: KeyCheck | GputuiError) -> dict[str, Any]:
    if isinstance(outcome, GputuiError):
        return {"provider": name, "ok": False, "identity": None, "detail": str(outcome), "code": outcome.code}
    return {"provider": name, "ok": True, "identity": outcome.identity, "detail": outcome.detail, "code": None}


def _check_table(rows: list[dict[str, Any]]) -> str:
    cells = [
        [row["provider"], "works" if row["ok"] else "FAILED", ", ".join(filter(None, (row["identity"], row["detail"])))]
        for row in rows
    ]
    return table([Column("PROVIDER"), Column("KEY"), Column("SAYS")], cells, empty="")


def _exit_code(errors: list[GputuiError]) -> ExitCode:
    """Return the exit code of the worst: a key to fix comes before a provider that cannot be reached."""
    codes = {exit_code_of(error) for error in errors}
    return next((code for code in (ExitCode.AUTH, ExitCode.UNREACHABLE) if code in codes), ExitCode.FAILED)
