"""A widget painted by a function of its width, so that what it shows always fits exactly."""

from __future__ import annotations

from collections.abc import Callable

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from gputui.tui.render.diff import changed_regions

# Width in cells to what is shown there, lines parted by line breaks.
Painter = Callable[[int], Content]


class Painted(Widget):
    """Shows what its painter returns for the width there is; repaints only what differs."""

    DEFAULT_CSS = """
    Painted { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._painter: Painter = lambda width: Content("")
        self._painted = Content("")
        self._painted_width = -1

    def show(self, painter: Painter) -> None:
        """Show something else."""
        before, width = self._painted, self._painted_width
        self._painter = painter
        self._painted_width = -1
        if width < 0:
            self.refresh(layout=True)
            return
        after = self._content(width)
        if _height(after) != _height(before):
            self.refresh(layout=self.styles.height is None or self.styles.height.is_auto)
            return
        padding = self.gutter
        for region in changed_regions(before, after, width):
            self.refresh(region.translate((padding.left, padding.top)))

    def on_resize(self) -> None:
        self._painted_width = -1  # a painter may go by the height, too

    def _content(self, width: int) -> Content:
        if width != self._painted_width:
            self._painted = self._painter(width)
            self._painted_width = width
        return self._painted

    def render(self) -> Content:
        return self._content(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return _height(self._content(width))


def _height(content: Content) -> int:
    return content.plain.count("\n") + 1
