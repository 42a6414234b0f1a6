"""The matrix of SSH keys and providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from textual.content import Content

from gputui.core.resources import KeyRow, PublicKey
from gputui.tui.render.states import Badge
from gputui.tui.render.text import cut, homely, join, left, plain, rule, styled

_NAME, _NAME_MOST = 20, 40
_PRINT = 24
_COLUMN_LEAST, _COLUMN_MOST = 9, 13


class CellState(StrEnum):
    """How a key stands with a provider. `unknown`: it never answered."""

    PRESENT = "present"
    ABSENT = "absent"
    BUSY = "busy"
    FAILED = "failed"
    UNKNOWN = "unknown"


CELLS: dict[CellState, Badge] = {
    CellState.PRESENT: Badge("●", "yes", "$state-running"),
    CellState.ABSENT: Badge("○", "no", "$faint"),
    CellState.BUSY: Badge("◌", "…", "$state-waiting"),
    CellState.FAILED: Badge("✕", "error", "$state-failed"),
    CellState.UNKNOWN: Badge("?", "?", "$muted"),
}


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One public key. `path` is where it lies on this machine, `public` its text where that is known."""

    key: str
    name: str
    fingerprint: str | None
    path: Path | None
    public: PublicKey | None
    row: KeyRow | None
    cells: Mapping[str, CellState] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """True for one that is called as gputui calls the key that it reaches machines with."""
        return self.path is None and self.name.startswith("gputui-")


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A provider; `is_old` when it does not answer now."""

    name: str
    title: str
    is_old: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths of the columns: the key's name, its fingerprint (0 leaves it out), one for each provider."""

    name: int
    print: int
    providers: tuple[int, ...]

    def column_at(self, x: int) -> int | None:
        """Return which provider's column a cell of a line is in."""
        start = 2 + self.name + self.print
        for position, each in enumerate(self.providers):
            if start <= x < start + each:
                return position
            start += each
        return None


def layout(columns: Sequence[KeyColumn], width: int) -> Layout:
    """Return what fits: every provider by name where it can be, then the fingerprint, then longer names of keys."""
    room = width - 2 - _NAME
    even = max(_COLUMN_LEAST, min(_COLUMN_MOST, room // max(1, len(columns))))
    providers = tuple(even for _ in columns)
    if any(len(column.title) >= even for column in columns):
        fitting = tuple(max(_COLUMN_LEAST - 1, len(column.title) + 1) for column in columns)
        providers = fitting if sum(fitting) <= room else providers
    rest = room - sum(providers)
    has_print = rest >= _PRINT
    name = min(_NAME_MOST, _NAME + max(0, rest - _PRINT if has_print else rest))
    return Layout(name, _PRINT if has_print else 0, providers)


def header(columns: Sequence[KeyColumn], width: int, *, cursor: int) -> Content:
    """Return the line of titles; the cursor's provider stands out."""
    plan = layout(columns, width)
    parts = [(f"  {left('key', plan.name)}", "$muted"), (left("fingerprint", plan.print), "$muted")]
    for position, (column, each) in enumerate(zip(columns, plan.providers, strict=True)):
        style = "$foreground bold" if position == cursor else "$muted"
        parts.append((left(cut(column.title, each - 1), each), style))
    return join(*parts)


def row(line: KeyLine, columns: Sequence[KeyColumn], width: int, *, cursor: int, here: bool, focused: bool) -> Content:
    """Return one key's line: a mark per provider. `here` is the cursor's row."""
    plan = layout(columns, width)
    name = left(cut(plain(line.name[:200]), plan.name - 2), plan.name)
    parts: list[tuple[str, str]] = [
        ("▌ " if here else "  ", "$accent"),
        (name, "bold" if here else "" if line.path else "$muted"),
    ]
    if plan.print:
        shown = plain((line.fingerprint or "not told").removeprefix("SHA256:")[:100])
        parts.append((left(cut(shown, plan.print - 2), plan.print), "$muted"))
    for position, (column, each) in enumerate(zip(columns, plan.providers, strict=True)):
        badge = CELLS[line.cells.get(column.name, CellState.UNKNOWN)]
        text = f"{badge.glyph} {badge.word}"
        if here and position == cursor and focused:
            parts += [(left(f"{text} ", each - 1), "$cell-cursor-text on $cell-cursor bold"), (" ", "")]
        else:
            is_dim = column.is_old and badge is not CELLS[CellState.FAILED]
            parts.append((left(text, each), "$faint" if is_dim else badge.style))
    return join(*parts)


def detail(line: KeyLine, columns: Sequence[KeyColumn], *, width: int) -> Content:
    """Return what is known of the key under the cursor."""
    present = sum(state is CellState.PRESENT for state in line.cells.values())
    count = join((f"at {present} of {len(columns)}", "$muted"))
    lines = [rule(join((plain(line.name[:200]), "bold")), width, right_title=count)]
    where = homely(plain(str(line.path))) if line.path else "not in the folder of keys on this machine"
    if line.is_own:
        where = "gputui's own, by its name: it reaches its jobs with it"
    lines.append(_fact("fingerprint", plain(line.fingerprint or "its provider does not tell it")))
    lines.append(_fact("here", where))
    for column in columns:
        if error := line.errors.get(column.name):
            lines.append(_fact("error", f"{column.title}: {plain(error[:400])}", "$state-failed"))
    called = [
        f"{column.title}: {plain(key.name[:60])}"
        for column in columns
        for key in (line.row.at.get(column.name, ()) if line.row else ())
    ]
    if called:
        lines.append(_fact("called", ",  ".join(called)))
    return Content("\n").join([text.truncate(width, ellipsis=True) for text in lines])


def _fact(label: str, value: str, style: str = "") -> Content:
    return join((f"   {label:<13}", "$muted"), (value, style))


def here(count: int, *, makes_one: str) -> list[Content]:
    """Return how many keys this machine has, and which key makes one when it has none; the fullest first."""
    if count:
        return [styled(f"{count} in ~/.ssh", "$muted")]
    none = join(("no key in ~/.ssh", "$state-waiting"))
    return [join(none, (": ", "$muted"), (makes_one, "$accent bold"), (" makes one", "$muted")), none]
