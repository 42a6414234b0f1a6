"""Screen 6: public SSH keys and the providers that have them; those of this machine first."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import SuspendNotSupported
from textual.widget import Widget

from gputui.core import resources
from gputui.core.asking import Asked, who_can
from gputui.core.resources import KeyRow, PublicKey
from gputui.model.errors import GputuiError, UsageError
from gputui.model.types import SshKey
from gputui.tui import bindings
from gputui.tui.render import ssh_keys as keys_render
from gputui.tui.render.ssh_keys import CellState, KeyColumn, KeyLine
from gputui.tui.render.text import homely, join, plain
from gputui.tui.screens.asking import AskingScreen, Told, by_provider
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.ways import key_of
from gputui.tui.widgets.key_matrix import KeyMatrix
from gputui.tui.widgets.painted import Painted
from gputui.tui.widgets.row_list import RowList

Cell = tuple[str, str]
_NEW_KEY = Path("~/.ssh/id_ed25519")


class SshKeysScreen(AskingScreen):
    """A matrix of keys and providers."""

    BINDINGS = bindings.SSH_KEYS + bindings.ASKING
    HELP: ClassVar[str] = (
        "A key is the same wherever its fingerprint is, whatever a provider calls it. Press {keys.toggle} to add the key "
        "to the provider under the cursor, or to remove it there after a question. Machines that run are not given it, "
        "and those made with it keep it. Jobs do not need these keys: gputui has one of its own."
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: Told[SshKey] = Told()
        self._local: list[tuple[Path, PublicKey]] = []
        self._providers: Sequence[str] = ()
        self._busy: set[Cell] = set()
        self._errors: dict[Cell, str] = {}
        self._had: frozenset[str] | None = None  # the keys of this machine before another one was made

    def make_list(self) -> RowList:
        return KeyMatrix(id="list")

    def below(self) -> Iterator[Widget]:
        yield Painted(id="detail")

    @property
    def matrix(self) -> KeyMatrix:
        return self.query_one(KeyMatrix)

    # What is shown

    async def ask(self) -> None:
        self._local = await asyncio.to_thread(resources.local_public_keys, Path.home() / ".ssh")
        self._providers = who_can(self.desk.accounts, "ssh-keys")
        rows, problems = await resources.list_ssh_keys(self.desk.accounts, self._providers)
        found = [key for row in rows for key in row.registrations]
        answered = [name for name in self._providers if name not in problems]
        self.told = self.told.heard(
            by_provider(answered, found, lambda key: key.provider), problems, self.desk.clock.now_ms()
        )

    def refresh_data(self) -> None:
        lines = self._lines()
        columns = [KeyColumn(name, self.title_of(name), name in self.told.problems) for name in self._providers]
        self.matrix.show(lines, columns)
        title = join(("SSH keys", "bold"), (f" {self.count(lines)}", "$muted"))
        here = keys_render.here(len(self._local), makes_one=key_of(self.app, "keys.new"))
        nothing = self.hints(
            "There are no SSH keys, here or at a provider.",
            ("keys.new", "make one with ssh-keygen"),
            ("ask.refresh", "look again"),
        )
        self.show_list(title, [line.key for line in lines], summaries=here, nothing=nothing)
        if self._had is not None and (made := {public.fingerprint for _, public in self._local} - self._had):
            self._had = None
            self.matrix.select(made.pop())
        self._show_detail()

    def _lines(self) -> list[KeyLine]:
        """Return the keys of this machine, then those that only providers have."""
        rows = {row.fingerprint or f"{row.registrations[0].provider} {row.registrations[0].id}": row
                for row in resources.key_rows(self.told.rows)}  # fmt: skip
        lines: list[KeyLine] = []
        for path, public in self._local:
            if all(line.key != public.fingerprint for line in lines):
                row = rows.pop(public.fingerprint, None)
                lines.append(self._line(public.fingerprint, path.stem, public, row, path))
        lines += [self._line(key, row.name or key, _public_of(row), row, None) for key, row in rows.items()]
        return lines

    def _line(self, key: str, name: str, public: PublicKey | None, row: KeyRow | None, path: Path | None) -> KeyLine:
        return KeyLine(
            key,
            name,
            public.fingerprint if public else (row.fingerprint if row else None),
            path,
            public,
            row,
            {name: self._state(key, name, row) for name in self._providers},
            {provider: error for (of, provider), error in self._errors.items() if of == key},
        )

    def _state(self, key: str, provider: str, row: KeyRow | None) -> CellState:
        if (key, provider) in self._busy:
            return CellState.BUSY
        if (key, provider) in self._errors:
            return CellState.FAILED
        if provider not in self.told.rows:
            return CellState.UNKNOWN
        return CellState.PRESENT if row is not None and provider in row.at else CellState.ABSENT

    @on(RowList.Moved)
    @on(KeyMatrix.ColumnMoved)
    def _show_detail(self) -> None:
        line = self.matrix.line
        if line is not None:
            columns = [KeyColumn(name, self.title_of(name)) for name in self._providers]
            self.query_one("#detail", Painted).show(lambda width: keys_render.detail(line, columns, width=width))
        self.refresh_bindings()

    # Keys

    @property
    def untold(self) -> frozenset[str]:
        """Actions that the footer leaves out: who has a key needs no other one."""
        return frozenset({"new_key"} if self._local else ())

    def obstacle(self, action: str) -> str | None:
        if action == "new_key" and self.is_mounted:
            return self._why_no_new_key()
        if action != "add_or_remove" or not self.is_mounted:
            return None
        line, column = self.matrix.line, self.matrix.column
        if line is None or column is None:
            return "There is no key under the cursor."
        is_there = line.row is not None and column.name in line.row.at
        if (line.key, column.name) in self._busy:
            return f"{column.title} is being asked already."
        if column.name not in self.told.rows:
            return f"{column.title} has not told which keys it has. {key_of(self.app, 'ask.refresh')} asks again."
        if not is_there and line.public is None:
            return "The text of this key is not known here, so it cannot be added elsewhere."
        return None

    @on(RowList.Chosen)
    def action_add_or_remove(self) -> None:
        """Add the key to the provider under the cursor; where it is, ask before it is removed."""
        if self.explain("add_or_remove"):
            return
        line, column = self.matrix.line, self.matrix.column
        assert line is not None
        assert column is not None
        if line.row is not None and column.name in line.row.at:
            registered = ", ".join(plain(key.name[:60]) or plain(key.id[:60]) for key in line.row.at[column.name])
            question = Question(
                f"Remove key {plain(line.name[:60])} from {column.title}?",
                [
                    f"It is called {registered} there. New machines are no longer given it; machines made with it keep it.",
                    "It stays on this machine."
                    if line.path
                    else "It is gputui's own, by its name: jobs that run there are reached with it."
                    if line.is_own
                    else "It is not on this machine: add it elsewhere first to keep it.",
                ],
                yes="Remove it",
                no="Keep",
                is_danger=True,
            )
            self.app.push_screen(ConfirmScreen(question), lambda yes: self._answered(yes, line, column))
        elif line.public is not None:
            self._add(line.key, line.public, line.public.comment or line.name, column)

    def _why_no_new_key(self) -> str | None:
        if self._local:
            return f"There is a key already: {homely(plain(str(self._local[0][0])))}."
        if _NEW_KEY.expanduser().exists():
            return f"{_NEW_KEY} is there without its .pub. This makes it: ssh-keygen -y -f {_NEW_KEY} > {_NEW_KEY}.pub"
        if shutil.which("ssh-keygen") is None:
            return "There is no ssh-keygen on this machine; it comes with OpenSSH."
        return None

    def action_new_key(self) -> None:
        """Lend the terminal to ssh-keygen, then look what it made."""
        if self.explain("new_key"):
            return
        self._had = frozenset(public.fingerprint for _, public in self._local)
        path = _NEW_KEY.expanduser()
        argv = ["ssh-keygen", "-t", "ed25519", "-f", str(path)]
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with self.app.suspend():
                self.gputui.run_outside(argv)
        except SuspendNotSupported:
            self.notify(f"This terminal cannot be lent. Run: {shlex.join(argv)}", markup=False, timeout=30)
        except OSError as error:
            self.notify(f"No key was made: {error.strerror}.", severity="error", markup=False)
        self.ask_again()

    def _answered(self, yes: bool | None, line: KeyLine, column: KeyColumn) -> None:
        if yes and line.row is not None:
            self._remove(line.key, line.row, column)

    @work(group="change", exit_on_error=False)
    async def _add(self, key: str, public: PublicKey, name: str, column: KeyColumn) -> None:
        change = resources.add_ssh_key(self.desk.accounts, public, name, [column.name])
        await self._change((key, column.name), change, f"{column.title} has the key now.")

    @work(group="change", exit_on_error=False)
    async def _remove(self, key: str, row: KeyRow, column: KeyColumn) -> None:
        only = KeyRow(row.fingerprint, row.name, {column.name: row.at[column.name]})
        change = resources.delete_ssh_key(self.desk.accounts, only)
        await self._change((key, column.name), change, f"{column.title} no longer has the key.")

    async def _change(self, cell: Cell, change: Awaitable[Asked[Any]], done: str) -> None:
        """Carry out a change; its cell shows that it is under way, then how it went."""
        self._busy.add(cell)
        self._errors.pop(cell, None)
        self.reload()
        try:
            problems = [*(await change).problems.values()]
        except GputuiError as error:
            problems = [error]
        finally:
            self._busy.discard(cell)
        if problems:
            self._errors[cell] = str(problems[0])
        else:
            self.notify(done, markup=False)
        self.reload()
        self.ask_again()


def _public_of(row: KeyRow) -> PublicKey | None:
    """Return the text of a key where one of its providers tells it."""
    for key in row.registrations:
        if key.public_key:
            try:
                return resources.public_key_of(key.public_key)
            except UsageError:
                continue
    return None
