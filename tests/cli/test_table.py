"""Tables: alignment, giving way on a narrow terminal, and text that tries to steer it."""

from __future__ import annotations

import pytest

from gputui.cli.table import Column, display_width, printable, render_table

COLUMNS = [Column("NAME"), Column("$/H", right=True), Column("WHY", shrinks=True)]


def test_numbers_end_and_words_begin_in_one_column() -> None:
    text = render_table(COLUMNS, [["a", "2.29", "x"], ["longer", "10.00", "y"]])
    assert text.splitlines() == ["NAME      $/H  WHY", "a        2.29  x", "longer  10.00  y"]


def test_without_a_width_nothing_is_cut() -> None:
    long = "w" * 500
    assert render_table(COLUMNS, [["a", "1.00", long]]).splitlines()[1].endswith(long)


def test_a_narrow_terminal_cuts_only_the_columns_that_may_shrink() -> None:
    lines = render_table(COLUMNS, [["a-name", "1.00", "w" * 100]], width=40).splitlines()
    assert all(display_width(line) <= 40 for line in lines)
    assert lines[1].startswith("a-name")
    assert lines[1].endswith("w…")


def test_columns_that_may_not_shrink_keep_their_figures() -> None:
    lines = render_table([Column("A"), Column("B", right=True)], [["x" * 30, "1.00"]], width=10).splitlines()
    assert lines[1].endswith("1.00")
    assert "x" * 30 in lines[1]


def test_wide_characters_do_not_shift_the_next_column() -> None:
    lines = render_table([Column("NAME"), Column("N", right=True)], [["名前", "1"], ["ab", "2"]]).splitlines()
    assert {display_width(line) for line in lines} == {7}


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "�[31mred"),
        ("a\nb\tc\r", "a b c "),
        ("\x9b2J", "�2J"),
        ("safe\u202eevil", "safe�evil"),
        ("\x00", "�"),
        ("ärger 名前", "ärger 名前"),
    ],
)
def test_what_could_steer_a_terminal_is_replaced(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown
    assert "\x1b" not in render_table(COLUMNS, [[hostile, "1.00", hostile]])
