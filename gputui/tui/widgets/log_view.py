"""A log file, painted line by line as it is seen, following its end as it grows."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from pathlib import Path

from textual import events, work
from textual.geometry import Size
from textual.message import Message

from gputui.tui import bindings
from gputui.tui.clipboard import MOST_BYTES, copy
from gputui.tui.log_book import LogBook
from gputui.tui.log_search import LogSearch
from gputui.tui.render.log_line import paint
from gputui.tui.widgets.log_rows import LogRows

FLUSH_S = 0.1
STEP_BYTES = 128 * 1024 * 1024
"""What is read before it is shown: painting costs more than reading, so that it is not done for every little piece."""
SEARCH_STEP_BYTES = 4 * 1024 * 1024


class LogView(LogRows, can_focus=True):
    """Shows the file it is given with `open`; posts `Changed` when anything of its properties changed."""

    BINDING_GROUP_TITLE = "Log"
    BINDINGS = bindings.LOG

    class Changed(Message):
        """The number of lines, the following, what was found or what is marked changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.Changed)

    class FindWanted(Message):
        """Somebody wants to type a word to look for."""

    class SaveWanted(Message):
        """Somebody wants to save the log."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_reading = False
        self._follows = True
        self._is_moving = False
        self._is_looking = False
        self._went_round = False

    @property
    def untold(self) -> frozenset[str]:
        """Actions that the footer leaves out: without a word that is looked for there is no next one."""
        return frozenset() if self._search is not None else frozenset({"match"})

    # What it shows

    @property
    def follows(self) -> bool:
        """True while the view stays at the end."""
        return self._follows

    @property
    def wraps(self) -> bool:
        return self._wraps

    @property
    def path(self) -> Path | None:
        return self._book.path if self._book else None

    @property
    def line_count(self) -> int:
        return self._book.line_count if self._book else 0

    @property
    def gap_count(self) -> int:
        """How many stretches of the log are lost."""
        return self._book.gap_count if self._book else 0

    @property
    def problem(self) -> str:
        """Why the file cannot be read, empty when it can."""
        return self._problem

    @property
    def search(self) -> LogSearch | None:
        """What is looked for."""
        return self._search

    @property
    def search_progress(self) -> float | None:
        """How much of the log was looked through, None when nothing is being looked for."""
        if not self._is_looking or self._search is None or self._book is None:
            return None
        return min(1.0, self._search.byte / max(1, self._book.size))

    @property
    def match_number(self) -> int | None:
        """Which of the lines found was gone to, from 1."""
        if self._search is None or self._match_line is None:
            return None
        return bisect_left(self._search.lines, self._match_line) + 1

    @property
    def went_round(self) -> bool:
        """True when the last step from one line found to the next went past an end of the log."""
        return self._went_round

    @property
    def marked_count(self) -> int:
        return abs(self._marked[0] - self._marked[1]) + 1 if self._marked else 0

    def open(self, path: Path | None) -> None:
        """Show another file from its end; None shows nothing. The same file again changes nothing."""
        if self._book is not None and path == self._book.path:
            return
        self._book = LogBook(path) if path is not None else None
        self._search = self._match_line = self._marked = None
        self._follows = True
        self._problem = ""
        self._x = self._row = 0
        self._repaint()
        self._resize()
        self._flush()

    def on_mount(self) -> None:
        self.set_interval(FLUSH_S, self._flush)

    def on_resize(self) -> None:
        self._repaint()
        self._resize()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._repaint()

    # Following the file

    def _flush(self) -> None:
        """Take what came since the last time; a long file is read in steps off the loop."""
        book = self._book
        if book is None or self._is_reading or not self.screen.is_current or not self.is_on_screen:
            return
        try:
            if book.has_changed():
                self._is_reading = True
                self._read(book)
        except OSError as error:
            self._tell_problem(error)

    @work(group="log", exit_on_error=False)
    async def _read(self, book: LogBook) -> None:
        try:
            while book is self._book:
                growth, marks = await asyncio.to_thread(book.scan, max_bytes=STEP_BYTES)
                if book is not self._book or (growth is None and not marks[0]):
                    break
                before = book.line_count
                book.take(growth, marks)
                self._grown(book, before)
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

    def _grown(self, book: LogBook, lines_before: int) -> None:
        if book.line_count < lines_before:
            self._repaint()
            if self._search is not None:
                word, self._search = self._search.word, None
                self.find(word)
        else:
            self._strips.discard(book.place_of(max(0, lines_before - 1)))  # the last line may have been unfinished
            if self._search is not None and not self._is_looking:
                self._look(self._search, book, is_new=False)
        self._generation += 1
        self._resize()
        self.refresh()
        self.post_message(self.Changed())

    def _resize(self) -> None:
        """Set the bounds of scrolling so that at their end the last row is at the bottom."""
        size = Size(self.size.width, self._end()[0] + self.size.height)
        if size != self.virtual_size:
            # Set the usual way it would lay out the whole screen again, ten times a second while lines come in.
            self.set_reactive(LogView.virtual_size, size)
            self._scroll_update(size)
        if self._follows:
            # The bounds hold only after the next layout.
            self.call_after_refresh(self._stay_at_end)

    def _stay_at_end(self) -> None:
        if self._follows:
            self._go(*self._end())

    def _go(self, place: int, row: int) -> None:
        if row != self._row:
            self._row = row
            self.refresh()
        self._is_moving = True
        self.scroll_to(y=place, animate=False, immediate=True)
        self._is_moving = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y
        # Up to the very end is no move of the wheel or the scrollbar: the bounds became narrower.
        if not self._is_moving and round(old_value) != round(new_value) and not (at_end and new_value < old_value):
            self._row = self._end()[1] if at_end else 0
            self._set_follows(at_end)

    def _scroll_by(self, rows: int) -> None:
        if self._marked is not None:
            self._move_mark(rows)
            return
        place, row = self._below(*self._top(), rows) if rows > 0 else self._above(*self._top(), -rows)
        self._go(place, row)
        self._set_follows(rows > 0 and (place, row) >= self._end())

    def _show_place(self, place: int) -> None:
        """Stop following and bring a place to where it can be seen; when it cannot yet, with something around it."""
        self._set_follows(False)
        if place not in [seen for seen, _ in self._seen()]:
            self._go(*min(self._above(place, 0, self.size.height // 3), self._end()))

    def _set_follows(self, follows: bool) -> None:
        if follows:
            self._go(*self._end())
        if follows != self._follows:
            self._follows = follows
            self.post_message(self.Changed())

    def action_follow(self) -> None:
        self._marked = None
        self._set_follows(not self._follows)

    def action_end(self) -> None:
        if self._marked is not None:
            self._move_mark(self._place_count)
        else:
            self._set_follows(True)

    def action_start(self) -> None:
        if self._marked is not None:
            self._move_mark(-self._place_count)
        else:
            self._set_follows(False)
            self._go(0, 0)

    def action_lines(self, lines: int) -> None:
        self._scroll_by(lines)

    def action_pages(self, pages: int) -> None:
        self._scroll_by(pages * max(1, self.size.height - 1))

    def action_columns(self, columns: int) -> None:
        """Move sideways, no further than the longest line that can be seen."""
        widest = max((self._rows(place)[0].cell_length for place, _ in self._seen()), default=0)
        self._set_x(min(self._x + columns, widest - self._text_width))

    def _set_x(self, x: int) -> None:
        self._x = 0 if self._wraps else max(0, x)
        self.refresh()

    def action_wrap(self) -> None:
        place, _ = self._top()
        self._wraps = not self._wraps
        self._x = 0
        self._repaint()
        self._resize()
        self._go(*(self._end() if self._follows else (place, 0)))
        self.post_message(self.Changed())

    def action_times(self) -> None:
        self._shows_times = not self._shows_times
        self._repaint()
        self._resize()

    # Finding

    def action_find(self) -> None:
        self.post_message(self.FindWanted())

    def find(self, word: str, *, then_go: bool = False) -> None:
        """Look for a word and mark every place it is at; an empty one ends that. `then_go` shows the nearest line found."""
        if self._search is None or word != self._search.word:
            self._match_line = None
            self._went_round = False
            self._search = LogSearch(word) if word else None
            self.refresh_bindings()
            self._repaint()
            self._is_looking = False
            if self._search is not None and self._book is not None:
                self._is_looking = True
                self._look(self._search, self._book, is_new=then_go)
        elif then_go and not self._is_looking:
            self._go_to_nearest()
        elif then_go and self._book is not None:
            self._look(self._search, self._book, is_new=True)
        self.post_message(self.Changed())

    @work(group="find", exclusive=True, exit_on_error=False)
    async def _look(self, search: LogSearch, book: LogBook, *, is_new: bool) -> None:
        self._is_looking = True
        try:
            is_more = True
            while is_more:
                found = await asyncio.to_thread(search.scan, book.path, max_bytes=SEARCH_STEP_BYTES)
                if search is not self._search or book is not self._book:
                    return
                is_more = found.byte - search.byte >= SEARCH_STEP_BYTES
                search.take(found)
                self.post_message(self.Changed())
        except FileNotFoundError:
            pass  # there is no log yet
        except OSError as error:
            self._tell_problem(error)
        finally:
            if search is self._search:
                self._is_looking = False
        if is_new:
            self._go_to_nearest()
        self.post_message(self.Changed())

    def _go_to_nearest(self) -> None:
        """Show the newest line found when following, else the first one from the top of the screen on."""
        if self._search is None or self._book is None or not self._search.lines:
            return
        lines = self._search.lines
        if self._follows:
            self._go_to_match(lines[-1])
            return
        after = bisect_left(lines, self._book.line_at(self._top()[0]))
        self._went_round = after == len(lines)
        self._go_to_match(lines[after % len(lines)])

    def action_match(self, step: int) -> None:
        """Show the next or the previous line found; after the last one comes the first."""
        if self._search is None:
            self.action_find()
            return
        lines = self._search.lines
        if not lines:
            return
        if self._match_line is None:
            self._go_to_nearest()
            return
        place = bisect_right(lines, self._match_line) if step > 0 else bisect_left(lines, self._match_line) - 1
        self._went_round = not 0 <= place < len(lines)
        self._go_to_match(lines[place % len(lines)])

    def _go_to_match(self, line: int) -> None:
        if self._book is None or self._search is None:
            return
        before, self._match_line = self._match_line, line
        for changed in (before, line):
            if changed is not None:
                self._strips.discard(self._book.place_of(changed))
        self._show_place(self._book.place_of(line))
        self._show_columns_of(line)
        self._generation += 1
        self.refresh()
        self.post_message(self.Changed())

    def _show_columns_of(self, line: int) -> None:
        """Move sideways until the first place of the word can be seen."""
        assert self._book is not None
        assert self._search is not None
        text = paint(self._book.line(line)[0])
        match = self._search.pattern.search(text.plain)
        if match is not None and not self._wraps:
            start, end = (text[:position].cell_len for position in match.span())
            if not self._x <= start <= end <= self._x + self._text_width - 1:
                self._set_x(0 if end < self._text_width else start - self._text_width // 3)

    # Marking and copying

    def action_mark(self) -> None:
        """Begin marking lines, or end it."""
        self._marked = None if self._marked is not None else (self._here(), self._here())
        if self._marked is not None:
            self._set_follows(False)
        self._mark_changed()

    def _here(self) -> int:
        """Return the place of the line found when it can be seen, else the last place that can."""
        seen = [place for place, _ in self._seen()]
        if self._book is not None and self._match_line is not None:
            place = self._book.place_of(self._match_line)
            if place in seen:
                return place
        return seen[-1] if seen else 0

    def _move_mark(self, rows: int) -> None:
        assert self._marked is not None
        place = max(0, min(self._marked[1] + rows, self._place_count - 1))
        self._marked = self._marked[0], place
        if place <= self._top()[0]:
            self._go(place, 0)
        elif place not in [seen for seen, _ in self._seen()][:-1]:
            self._go(*min(self._above(place + 1, 0, self.size.height), self._end()))
        self._mark_changed()

    def _mark_changed(self) -> None:
        self._generation += 1
        self.refresh()
        self.post_message(self.Changed())

    def on_click(self, event: events.Click) -> None:
        seen = self._seen()
        if event.chain == 2 and event.y < len(seen):
            self._marked = seen[event.y][0], seen[event.y][0]
            self._set_follows(False)
            self._mark_changed()

    def action_copy(self) -> None:
        """Copy what is marked, else the line found or the last one that can be seen."""
        if not self._place_count:
            return
        first, last = sorted(self._marked or (self._here(), self._here()))
        lines: list[str] = []
        size = 0
        for place in range(first, last + 1):
            lines.append(self._plain(place))
            size += len(lines[-1]) + 1
            if size > MOST_BYTES:
                break
        count = last - first + 1
        copy(self.app, lines, f"{count:,} line{'s' if count != 1 else ''}")

    def action_save(self) -> None:
        if self._place_count:
            self.post_message(self.SaveWanted())

    def leave(self) -> bool:
        """End the marking, else the search. Returns False when there was nothing to end."""
        if self._marked is not None:
            self.action_mark()
        elif self._search is not None:
            self.find("")
        else:
            return False
        return True
