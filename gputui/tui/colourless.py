"""For NO_COLOR: no colour is sent. What a strong background told is told in reverse video, and faint text is dim."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

# Luminance from which, in a dark theme, a background stands out, and below which text is faint; then in a light one.
_STRONG_ON_DARK, _FAINT_ON_DARK = 0.08, 0.2
_STRONG_ON_LIGHT, _FAINT_ON_LIGHT = 0.5, 0.25


class Colourless(LineFilter):
    """Applied to every line of every widget; `is_dark` tells what the theme is now."""

    def __init__(self, is_dark: Callable[[], bool]) -> None:
        super().__init__()
        self._is_dark = is_dark

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        is_dark = self._is_dark()
        return [
            Segment(text, style and without_colour(style, is_dark=is_dark), control)
            for text, style, control in segments
        ]


@lru_cache(maxsize=4096)
def without_colour(style: Style, *, is_dark: bool) -> Style:
    """Return a style in the terminal's own two colours."""
    text, under = (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
    light, light_under = luminance(text), luminance(under)
    is_strong = light_under is not None and (
        light_under > _STRONG_ON_DARK if is_dark else light_under < _STRONG_ON_LIGHT
    )
    if under is not None and under.type is ColorType.STANDARD:
        is_strong = True  # one of the terminal's own sixteen: where a theme uses them, they mark something
    is_faint = light is not None and (light < _FAINT_ON_DARK if is_dark else light > _FAINT_ON_LIGHT)
    return style + Style(color="default", bgcolor="default", reverse=is_strong, dim=is_faint and not is_strong)


def luminance(color: RichColor | None) -> float | None:
    """Return how bright a colour is, from 0 to 1, as WCAG reckons it; None for the terminal's own."""
    if color is None or color.is_default:
        return None
    shares = [share / 255 for share in color.get_truecolor()]
    red, green, blue = (share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
