"""Theme files."""

from __future__ import annotations

from pathlib import Path

import pytest
import rich.color
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from gputui.tui.themes import DEFAULT_THEME, VARIABLES, fallback_variables, load_themes, parse_theme, shipped_folder

# WCAG 2.2, 1.4.3: contrast of body text.
READABLE = 4.5
ON_BACKGROUND = ("muted", "best", "state-running", "state-waiting", "state-done", "state-failed", "state-stopped")


def _luminance(color: Color) -> float:
    def linear(channel: int) -> float:
        part = channel / 255
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b)


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(Color.parse(one)), _luminance(Color.parse(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_shipped_themes_are_whole_and_readable() -> None:
    themes, problems = load_themes([shipped_folder()])
    assert problems == []
    assert {theme.dark for theme in themes.values()} == {True, False}
    assert DEFAULT_THEME in themes
    assert len(themes) >= 4
    for theme in themes.values():
        if theme.ansi:
            assert set(VARIABLES) <= set(theme.variables)
            continue  # what its colours are is the terminal's affair
        assert set(theme.variables) == set(VARIABLES)
        assert theme.background is not None
        for name in ON_BACKGROUND:
            assert _contrast(theme.variables[name], theme.background) >= READABLE, (theme.name, name)
        for text, under in (("cell-cursor-text", "cell-cursor"), ("alert-text", "alert")):
            assert _contrast(theme.variables[text], theme.variables[under]) >= READABLE, (theme.name, text)


def test_with_256_colours_what_is_raised_still_is_and_greys_stay_grey() -> None:
    """GNU screen and Apple's Terminal have no more; there a dark grey with a tint becomes black, or teal."""
    for theme in load_themes([shipped_folder()])[0].values():
        if theme.ansi:
            continue
        under = _of_256(str(theme.background))
        for raised in (theme.panel, theme.variables["row-cursor"], theme.variables["rule"]):
            shown = _of_256(str(raised))
            assert shown != under, (theme.name, raised)
            assert max(shown) - min(shown) <= 8, (theme.name, raised)


def _of_256(colour: str) -> tuple[int, int, int]:
    shown = rich.color.Color.parse(colour).downgrade(rich.color.ColorSystem.EIGHT_BIT).get_truecolor()
    return shown.red, shown.green, shown.blue


def test_the_terminals_theme_uses_nothing_but_the_terminals_colours() -> None:
    theme = load_themes([shipped_folder()])[0]["terminal"]
    colours = [theme.primary, theme.background, theme.foreground, *(theme.variables[name] for name in VARIABLES)]
    assert {str(colour).startswith("ansi_") for colour in colours} == {True}


def test_the_contrast_theme_reaches_seven_to_one() -> None:
    theme = load_themes([shipped_folder()])[0]["gputui-contrast"]
    for name in (*ON_BACKGROUND, "faint"):
        for under in (theme.background, theme.panel, theme.variables["row-cursor"]):
            assert _contrast(theme.variables[name], str(under)) >= (7 if under == theme.background else 4.5), name


def test_a_users_theme_joins_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[colors]\nprimary = "#ff8800"\n')
    themes, problems = load_themes([shipped_folder(), tmp_path, tmp_path / "absent"])
    assert problems == []
    assert themes["mine"].primary == "#ff8800"


def test_every_problem_of_a_bad_theme_is_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(
        'name = "My Theme"\ndark = "yes"\nextra = 1\n[colors]\naccent = "no colour"\n[variables]\nmutd = "#fff"\n'
    )
    (tmp_path / "broken.toml").write_text("name = ")
    themes, problems = load_themes([tmp_path])
    assert themes == {}
    assert len(problems) == 2
    for part in (
        "name must be",
        "dark must be",
        "'extra'",
        "colors.accent",
        "colors.primary is missing",
        "variables.mutd",
    ):
        assert part in problems[0]


def test_a_theme_needs_a_primary_colour() -> None:
    with pytest.raises(ValueError, match=r"colors\.primary is missing"):
        parse_theme({"name": "x"})


@pytest.mark.parametrize("name", ["textual-dark", "nord", "textual-light", "ansi-dark"])
def test_other_themes_get_all_our_variables(name: str) -> None:
    assert set(fallback_variables(BUILTIN_THEMES[name])) == set(VARIABLES)
