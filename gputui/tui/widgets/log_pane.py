"""A log with the line below it in which a word to look for or a file to save to is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from gputui.tui.log_saving import copy_in_steps
from gputui.tui.render.text import join, plain, styled
from gputui.tui.ways import key_of
from gputui.tui.widgets.ask_line import AskLine
from gputui.tui.widgets.log_view import LogView

_FIND, _SAVE = "find", "save"


class LogPane(Vertical):
    """Posts `LogView.Changed` whenever its `facts` have changed."""

    DEFAULT_CSS = """
    LogPane { height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._log_name = "log"
        self._saved: float | None = None

    def compose(self) -> ComposeResult:
        yield LogView(id="log")
        yield AskLine()

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    @property
    def _ask(self) -> AskLine:
        return self.query_one(AskLine)

    def open(self, path: Path | None, *, name: str) -> None:
        """Show another log; `name` is what a copy of it would be called."""
        if path != self.view.path and self._ask.is_asking:
            self._close()
        self._log_name = name
        self.view.open(path)

    def escape(self) -> bool:
        """Leave the line, the marking, the search. Returns False when there was nothing to leave."""
        if self._ask.is_asking:
            self.view.find("")
            self._close()
            return True
        return self.view.has_focus and self.view.leave()

    def facts(self, *, is_over: bool) -> list[Content]:
        """Return what is to be told of the log, in a few words each, the most important first."""
        log = self.view
        facts: list[Content] = []
        if log.problem:
            facts.append(styled(log.problem, "$state-failed"))
        if self._saved is not None:
            facts.append(styled(f"saving {self._saved:.0%}", "$state-waiting"))
        if log.marked_count:
            copies = f": {key_of(self.app, 'log.copy')} copies"
            facts.append(join((f"{log.marked_count:,} marked", "$accent"), (copies, "$muted")))
        facts += _found(log)
        if log.gap_count:
            facts.append(styled(f"{log.gap_count} stretch{'es' if log.gap_count != 1 else ''} lost", "$state-failed"))
        if not log.line_count:
            facts.append(styled("no log" if is_over else "no log yet", "$muted"))
            return facts
        if log.follows and not is_over:
            facts.append(styled("following", "$state-running"))
        elif not log.follows and not log.marked_count and not is_over:
            facts.append(styled(f"paused: {key_of(self.app, 'log.follow')} follows", "$state-waiting"))
        facts.append(styled(f"{log.line_count:,} line{'s' if log.line_count != 1 else ''}", "$muted"))
        return facts

    # Finding

    @on(LogView.FindWanted)
    def _ask_for_word(self) -> None:
        word = self.view.search.word if self.view.search else ""
        self._ask.ask(_FIND, "/", text=word, hint="a word; one without capitals is found in any case")

    @on(AskLine.Typed)
    def _typed(self, event: AskLine.Typed) -> None:
        if event.question == _FIND:
            self.view.find(event.text)

    @on(AskLine.Answered)
    def _answered(self, event: AskLine.Answered) -> None:
        if event.question == _SAVE:
            self._save_to(event.text)
            return
        self._close()
        self.view.find(event.text, then_go=True)

    def _close(self) -> None:
        self._ask.close()
        self.view.focus()

    # Saving

    @on(LogView.SaveWanted)
    def _ask_for_file(self) -> None:
        safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self._log_name)
        self._ask.ask(_SAVE, "save to", text=f"{safe.lstrip('.-') or 'job'}.log", hint="the name of a new file")

    def _save_to(self, typed: str) -> None:
        source = self.view.path
        if not typed.strip() or source is None:
            return
        if self._saved is None:
            self._save(source, Path(typed.strip()).expanduser().absolute())
        self._close()

    @work(group="save", exit_on_error=False)
    async def _save(self, source: Path, target: Path) -> None:
        steps = None
        try:
            self._saved = 0.0
            steps = copy_in_steps(source, target)
            while (done := await asyncio.to_thread(next, steps, None)) is not None:
                self._saved = done
                self.post_message(LogView.Changed())
            self.app.notify(plain(str(target)), title="The log is saved", markup=False)
        except OSError as error:
            reason = "There is such a file already" if isinstance(error, FileExistsError) else str(error.strerror)
            self.app.notify(
                f"{plain(str(target))}: {plain(reason)}.", title="Not saved", severity="error", markup=False
            )
        finally:
            if steps is not None:
                steps.close()
            self._saved = None
            self.post_message(LogView.Changed())


def _found(log: LogView) -> list[Content]:
    """Return how looking for a word goes."""
    search = log.search
    if search is None:
        return []
    word = join((f"/{plain(search.word)}", "$accent"))
    progress = log.search_progress
    if progress is not None:
        count = f" {len(search.lines):,}, {progress:.0%} seen" if search.lines else f" {progress:.0%} seen"
        return [join(word, (count, "$muted"))]
    if not search.lines:
        return [join(word, (" not found", "$state-failed"))]
    number = log.match_number
    if number is None:
        lines = "line" if len(search.lines) == 1 else "lines"
        return [join(word, (f" in {len(search.lines):,} {lines}", "$muted"))]
    round_again = ", past the end" if log.went_round else ""
    return [join(word, (f" {number:,} of {len(search.lines):,}{round_again}", "$muted"))]
