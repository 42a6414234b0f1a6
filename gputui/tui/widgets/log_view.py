"""A log file, painted line by line as it is seen, following its end as it grows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from rich.style import Style
from textual import work
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gputui.tui import bindings
from gputui.tui.log_index import LogIndex
from gputui.tui.render.log_line import MAX_SHOWN, paint

FLUSH_S = 0.1
STEP_BYTES = 8 * 1024 * 1024


class LogView(ScrollView, can_focus=True):
    """Shows the file it is given with `open`; posts `Changed` when lines came or following began or ended."""

    BINDING_GROUP_TITLE = "Log"
    BINDINGS = bindings.LOG
    DEFAULT_CSS = """
    LogView { height: 1fr; scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; }
    """

    class Changed(Message):
        """The number of lines or the following changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._index: LogIndex | None = None
        self._follows = True
        self._strips: LRUCache[int, Strip] = LRUCache(512)
        self._is_reading = False
        self._problem = ""

    @property
    def follows(self) -> bool:
        """True while the view stays at the end."""
        return self._follows

    @property
    def line_count(self) -> int:
        return self._index.line_count if self._index else 0

    @property
    def problem(self) -> str:
        """Why the file cannot be read, empty when it can."""
        return self._problem

    def open(self, path: Path | None) -> None:
        """Show another file from its end; None shows nothing. The same file again changes nothing."""
        if self._index is not None and path == self._index.path:
            return
        self._index = LogIndex(path) if path is not None else None
        self._follows = True
        self._problem = ""
        self._strips.clear()
        self._resize()
        self.scroll_to(x=0, animate=False, immediate=True)
        self._flush()

    def on_mount(self) -> None:
        self.set_interval(FLUSH_S, self._flush)

    def on_resize(self) -> None:
        self._resize()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def _flush(self) -> None:
        """Take what came since the last time; a long file is read in steps off the loop."""
        if self._index is None or self._is_reading or not self.screen.is_current or not self.is_on_screen:
            return
        try:
            length = os.stat(self._index.path).st_size
        except FileNotFoundError:
            length = 0
        except OSError as error:
            self._tell_problem(error)
            return
        if length != self._index.size:
            self._is_reading = True
            self._read(self._index)

    @work(group="log", exit_on_error=False)
    async def _read(self, index: LogIndex) -> None:
        try:
            while index is self._index:
                before = index.line_count
                grew = await asyncio.to_thread(index.extend, max_bytes=STEP_BYTES)
                if not grew or index is not self._index:
                    break
                self._grown(before)
            self._problem = ""
        except OSError as error:
            self._tell_problem(error)
        finally:
            self._is_reading = False

    def _tell_problem(self, error: OSError) -> None:
        problem = error.strerror or "it cannot be read"
        if problem != self._problem:
            self._problem = problem
            self.post_message(self.Changed())

    def _grown(self, lines_before: int) -> None:
        if self.line_count < lines_before:
            self._strips.clear()
        else:
            self._strips.discard(lines_before - 1)  # the last line may have been unfinished
        self._resize()
        self.refresh()
        self.post_message(self.Changed())

    def _resize(self) -> None:
        self.virtual_size = Size(max(self.size.width, MAX_SHOWN), self.line_count)
        if self._follows:
            # The bounds of scrolling are known only after the next layout.
            self.call_after_refresh(self._stay_at_end)

    def _stay_at_end(self) -> None:
        if self._follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    # Moving

    def action_follow(self) -> None:
        self._set_follows(not self._follows)

    def action_end(self) -> None:
        self._set_follows(True)

    def action_start(self) -> None:
        self._set_follows(False)
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_lines(self, lines: int) -> None:
        self._scroll_by(lines)

    def action_pages(self, pages: int) -> None:
        self._scroll_by(pages * max(1, self.size.height - 1))

    def action_columns(self, columns: int) -> None:
        self.scroll_to(x=max(0, self.scroll_offset.x + columns), animate=False, immediate=True)
        self.refresh()

    def on_mouse_scroll_up(self) -> None:
        self._set_follows(False)

    def _scroll_by(self, lines: int) -> None:
        wanted = self.scroll_offset.y + lines
        at_end = wanted >= self.max_scroll_y
        self.scroll_to(y=wanted, animate=False, immediate=True)
        self._set_follows(at_end and lines > 0)

    def _set_follows(self, follows: bool) -> None:
        if follows:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)
        if follows != self._follows:
            self._follows = follows
            self.post_message(self.Changed())

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        style = self.rich_style
        number = y + self.scroll_offset.y
        if self._index is None or number >= self.line_count:
            return Strip.blank(width, style)
        x = self.scroll_offset.x
        return self._strip(number, style).crop_extend(x, x + width, style)

    def _strip(self, number: int, style: Style) -> Strip:
        assert self._index is not None
        strip = self._strips.get(number)
        if strip is None:
            try:
                text = paint(self._index.line(number))
            except OSError:
                return Strip.blank(self.size.width, style)
            text.stylize_before(style)
            strip = Strip(text.render(self.app.console))
            if number < self.line_count - 1:
                self._strips[number] = strip
        return strip
