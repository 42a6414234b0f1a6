"""The sixteen colours of a plain terminal for those of a theme, so that green stays green.

The nearest colour by distance, which Rich takes, makes nearly everything of a quiet theme grey, and its greys on white pale.
"""

from __future__ import annotations

import colorsys

from rich.color import Color, ColorType

from gputui.tui.colourless import luminance

_BRIGHT = 8
_LEAST_CHROMA = 0.19
# From which luminance a grey is bright black, white or bright white; below the first it is black.
_GREYS = ((0.7, 15), (0.3, 7), (0.03, 8))
# Up to which hue, in degrees, a colour is red, yellow, green ...
_HUES = ((25, 1), (70, 3), (165, 2), (195, 6), (260, 4), (330, 5), (360, 1))
_YELLOW, _MAGENTA = 3, 5


def of_sixteen(color: Color, *, is_background: bool = False) -> Color:
    """Return the colour to use where there are sixteen; the terminal's own stay as they are."""
    light = luminance(color)
    if light is None or color.type is ColorType.STANDARD:
        return color
    shares = [share / 255 for share in color.get_truecolor()]
    grey = next((number for least, number in _GREYS if light >= least), 0)
    if max(shares) - min(shares) < _LEAST_CHROMA:
        return Color.from_ansi(grey)
    is_light = light > 0.3
    if is_background and is_light:
        return Color.from_ansi(grey)  # not every terminal has bright backgrounds
    hue = colorsys.rgb_to_hsv(*shares)[0] * 360
    number = next(number for most, number in _HUES if hue <= most)
    if number == _YELLOW and not is_light:
        number = _MAGENTA  # meant for white paper, on which no terminal's yellow can be read
    return Color.from_ansi(number + _BRIGHT if is_light else number)
