"""The matrix of SSH keys and providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from textual.content import Content

from gputui.core.resources import KeyRow, PublicKey
from gputui.tui.render.states import Badge
from gputui.tui.render.text import cut, hints, homely, join, left, plain, rule

_NAME = 20
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


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A provider; `is_old` when it does not answer now."""

    name: str
    title: str
    is_old: bool = False


def column_width(columns: Sequence[KeyColumn], width: int) -> int:
    """Return the width of one provider's column."""
    room = (width - 2 - _NAME) // max(1, len(columns))
    return max(_COLUMN_LEAST, min(_COLUMN_MOST, room))


def header(columns: Sequence[KeyColumn], width: int, *, cursor: int) -> Content:
    """Return the line of titles; the cursor's provider stands out."""
    each = column_width(columns, width)
    parts = [(f"  {left('key', _NAME)}", "$muted")]
    if _has_print(columns, width):
        parts.append((left("fingerprint", _PRINT), "$muted"))
    for position, column in enumerate(columns):
        style = "$foreground bold" if position == cursor else "$muted"
        parts.append((left(cut(column.title, each - 1), each), style))
    return join(*parts)


def row(line: KeyLine, columns: Sequence[KeyColumn], width: int, *, cursor: int, here: bool, focused: bool) -> Content:
    """Return one key's line: a mark per provider. `here` is the cursor's row."""
    each = column_width(columns, width)
    parts: list[tuple[str, str]] = [
        ("▌ " if here else "  ", "$accent"),
        (left(cut(plain(line.name[:200]), _NAME - 2), _NAME), "bold" if here else "" if line.path else "$muted"),
    ]
    if _has_print(columns, width):
        shown = plain((line.fingerprint or "not told").removeprefix("SHA256:")[:100])
        parts.append((left(cut(shown, _PRINT - 2), _PRINT), "$muted"))
    for position, column in enumerate(columns):
        badge = CELLS[line.cells.get(column.name, CellState.UNKNOWN)]
        text = f"{badge.glyph} {badge.word}"
        if here and position == cursor and focused:
            parts += [(left(f"{text} ", each - 1), "$cell-cursor-text on $cell-cursor bold"), (" ", "")]
        else:
            is_dim = column.is_old and badge is not CELLS[CellState.FAILED]
            parts.append((left(text, each), "$faint" if is_dim else badge.style))
    return join(*parts)


def first_cell(columns: Sequence[KeyColumn], width: int) -> int:
    """Return where the first provider's column begins."""
    return 2 + _NAME + (_PRINT if _has_print(columns, width) else 0)


def _has_print(columns: Sequence[KeyColumn], width: int) -> bool:
    return width - 2 - _NAME - column_width(columns, width) * len(columns) >= _PRINT


def detail(line: KeyLine, columns: Sequence[KeyColumn], *, width: int) -> Content:
    """Return what is known of the key under the cursor."""
    present = sum(state is CellState.PRESENT for state in line.cells.values())
    count = join((f"at {present} of {len(columns)}", "$muted"))
    lines = [rule(join((plain(line.name[:200]), "bold")), width, right_title=count)]
    where = homely(plain(str(line.path))) if line.path else "not in the folder of keys on this machine"
    lines.append(_fact("print", plain(line.fingerprint or "its provider does not tell it")))
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
    return join((f"   {label:<10}", "$muted"), (value, style))


def nothing() -> Content:
    """Return what stands where there are no keys at all."""
    return hints(
        "There are no SSH keys, here or at a provider.", ("ssh-keygen -t ed25519", "makes one"), ("r", "looks again")
    )
