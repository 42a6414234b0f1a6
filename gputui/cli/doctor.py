"""`gputui doctor`: whether everything is in order, and if not, what."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gputui.cli.context import ask, open_desk, profile_of
from gputui.cli.exits import ExitCode, exit_code_of
from gputui.cli.output import emit, json_option, say, table
from gputui.cli.table import Column, printable
from gputui.model.errors import GputuiError

if TYPE_CHECKING:
    from gputui.core.desk import Desk
    from gputui.core.probes import Probe
    from gputui.local.paths import Paths
    from gputui.providers.base import KeyCheck

_LOW_DISK_BYTES = 200 * 1024 * 1024
_MARKS = {True: "ok", False: "PROBLEM", None: "–"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `ok` None: worth knowing, neither good nor bad. `hint` is what to do about a problem."""

    name: str
    ok: bool | None
    detail: str
    hint: str | None = None


@click.command()
@click.option("--probe", is_flag=True, help="Also ask each provider with a key whether it accepts it.")
@click.option("--provider", "names", multiple=True, metavar="NAME", help="Only ask this provider, about everything.")
@click.option("--all-providers", is_flag=True, help="Only ask every provider that has a key, about everything.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, probe: bool, names: tuple[str, ...], all_providers: bool, as_json: bool) -> None:
    """Check folders, database, agent, stores for keys and providers, and say what is wrong.

    Ends with 1 when something is. With --provider or --all-providers, shows instead what works there with the present
    key, by questions that change nothing; ends with 4 when a key is refused and with 7 when a provider cannot be reached.
    """
    if names or all_providers:
        _probe(ctx, names, all_providers=all_providers, as_json=as_json)
        return
    findings = list(_findings(ctx, probe=probe))
    emit(
        [
            {"name": finding.name, "ok": finding.ok, "detail": finding.detail, "hint": finding.hint}
            for finding in findings
        ],
        as_json=as_json,
        human=lambda: "\n".join(_line(finding) for finding in findings),
    )
    if any(finding.ok is False for finding in findings):
        ctx.exit(ExitCode.FAILED)


def _probe(ctx: click.Context, names: tuple[str, ...], *, all_providers: bool, as_json: bool) -> None:
    """Ask providers everything that can be asked without changing anything, and end as what a job needs went."""
    from gputui.core.probes import probe_all, worst_obstacle
    from gputui.providers.registry import provider_info

    desk = open_desk(ctx)
    wanted = list(dict.fromkeys([*names, *(desk.accounts.usable() if all_providers else ())]))
    say(f"Asking {', '.join([provider_info(name).title for name in wanted])} …")
    kept = {name: status.last_ok_ms for name, status in desk.provider_statuses().items()}
    rows = ask(
        desk,
        probe_all(desk.accounts, desk.clock, wanted, state_dir=desk.paths.state_dir, kept_offers_at_ms=kept),
    )
    emit([_probe_shape(row) for row in rows], as_json=as_json, human=lambda: _probe_table(rows))
    if (obstacle := worst_obstacle(rows)) is not None:
        ctx.exit(exit_code_of(obstacle))


def _probe_shape(row: Probe) -> dict[str, Any]:
    return {
        "provider": row.provider,
        "probe": row.name,
        "result": row.outcome.value,
        "detail": row.detail,
        "hint": row.hint,
        "code": row.error.code if row.error else None,
        "took_ms": row.took_ms,
    }


def _probe_table(rows: list[Probe]) -> str:
    columns = [Column("PROVIDER"), Column("PROBE"), Column("RESULT"), Column("MS", right=True), Column("DETAIL")]
    cells = [
        [
            row.provider,
            row.name,
            row.outcome.value,
            "" if row.took_ms is None else str(row.took_ms),
            " ".join(filter(None, (row.detail, row.hint))),
        ]
        for row in rows
    ]
    return table(columns, cells, empty="")


def _findings(ctx: click.Context, *, probe: bool) -> Iterator[Finding]:
    """Look at one thing after another; a failure of one never hides the others."""
    from gputui import __version__
    from gputui.local.paths import paths_for

    yield Finding("version", None, f"gputui {__version__}, Python {sys.version.split()[0]}")
    yield _ssh_client()
    paths = paths_for(profile_of(ctx))
    yield Finding("profile", None, paths.profile)
    yield from _folders(paths)
    try:
        desk = open_desk(ctx)
    except GputuiError as error:
        yield Finding("database", False, error.message, error.hint)
        return
    yield _database(desk)
    yield _agent(desk)
    for alarm in desk.alarms():
        if alarm.kind.value not in ("unguarded", "disk-full"):  # told with the agent and the folders
            yield Finding(f"alarm {alarm.kind.value}", False, alarm.message, alarm.hint)
    yield from _key_stores(desk)
    yield from _providers(desk, probe=probe)


def _ssh_client() -> Finding:
    found = shutil.which("ssh")
    missing = "no ssh program; only `machines ssh` needs it"
    return Finding("ssh client", None, found or missing)


def _folders(paths: Paths) -> Iterator[Finding]:
    exists = paths.config_file.exists()
    yield Finding("configuration", None, f"{paths.config_file}{'' if exists else ' (none yet; all defaults)'}")
    try:
        paths.ensure()
    except GputuiError as error:
        yield Finding("folders", False, error.message, error.hint)
        return
    for name, folder in (("state folder", paths.state_dir), ("data folder", paths.data_dir)):
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            yield Finding(name, False, f"{folder}: {error.strerror}", "Free some space, or set GPUTUI_HOME elsewhere.")
            continue
        free = shutil.disk_usage(folder).free
        enough = free >= _LOW_DISK_BYTES
        detail = f"{folder}, {free / 2**30:.1f} GiB free"
        yield Finding(name, enough, detail, None if enough else "Logs and the database need room.")


def _database(desk: Desk) -> Finding:
    from gputui.store.db import driver_description, journal_mode, on_network_disk

    path = desk.paths.database
    mode = desk.store.read_one("PRAGMA journal_mode")
    detail = f"{path}, {driver_description()}, journal mode {mode[0] if mode else 'unknown'}"
    if on_network_disk(path):
        hint = "Keep it on one host at a time, or set GPUTUI_HOME to a local disk."
        return Finding("database", None, f"{detail}; on a network disk", hint)
    if journal_mode() != "wal":
        detail += " (this SQLite has the WAL-reset bug, so no write-ahead log is used)"
    return Finding("database", True, detail)


def _agent(desk: Desk) -> Finding:
    from gputui.core.agent_link import AgentCondition

    state, alive_jobs = desk.agent_state(), desk.burn().alive_jobs
    watched = f"{alive_jobs} job{'' if alive_jobs == 1 else 's'} alive"
    match state.condition:
        case AgentCondition.RUNNING:
            return Finding("agent", True, f"runs (pid {state.pid}); {watched}")
        case AgentCondition.HUNG:
            detail = f"pid {state.pid} holds the lock but does not beat; {watched}"
            return Finding("agent", False, detail, "Run: gputui agent stop")
        case AgentCondition.NONE if alive_jobs:
            return Finding("agent", False, f"none runs; {watched}", "Run: gputui jobs list, which starts one.")
    return Finding("agent", None, "none runs, and none is needed")


def _key_stores(desk: Desk) -> Iterator[Finding]:
    for backend in desk.secrets.available_backends():
        usable = "can keep keys" if backend.usable else "cannot keep keys"
        yield Finding(f"key store {backend.name.value}", None, f"{usable}: {backend.reason}")


def _providers(desk: Desk, *, probe: bool) -> Iterator[Finding]:
    from gputui.providers.registry import PROVIDERS

    accounts = {name: desk.accounts.account(name) for name in PROVIDERS}
    asked = [name for name, account in accounts.items() if account.usable] if probe else []
    answers = ask(desk, _check_keys(desk, asked)) if asked else {}
    for name, account in accounts.items():
        label = f"provider {name}"
        answer = answers.get(name)
        source = f"key from {account.key_source}" if account.key_source else "needs no key"
        if account.problem is not None:
            yield Finding(label, None, account.problem)
        elif answer is None:
            yield Finding(label, None, source)
        elif isinstance(answer, GputuiError):
            yield Finding(label, False, f"{source}; {answer.message}", answer.hint)
        else:
            identity = f" as {answer.identity}" if answer.identity else ""
            yield Finding(label, True, f"{source}; answers{identity}")


async def _check_keys(desk: Desk, names: list[str]) -> dict[str, KeyCheck | GputuiError]:
    import asyncio

    async def check(name: str) -> KeyCheck | GputuiError:
        try:
            async with asyncio.timeout(20):
                return await desk.client(name).check_key()
        except TimeoutError:
            return GputuiError("It did not answer within 20 s.")
        except GputuiError as error:
            return error

    answers = await asyncio.gather(*(check(name) for name in names))
    return dict(zip(names, answers, strict=True))


def _line(finding: Finding) -> str:
    hint = f" {finding.hint}" if finding.hint else ""
    return f"{_MARKS[finding.ok]:<8} {finding.name:<20} {printable(finding.detail)}{hint}"
