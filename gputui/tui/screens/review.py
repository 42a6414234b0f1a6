"""The last page before money is spent: what will be created, what it costs, what guards it. Only here a job is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import on, work
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button

from gputui.model.errors import AgentError, GputuiError
from gputui.model.types import JobSpec, Volume
from gputui.providers.registry import provider_info
from gputui.tui import bindings
from gputui.tui.own_desk import on_own_desk
from gputui.tui.render import plan as plan_render
from gputui.tui.render.text import join, plain, styled
from gputui.tui.screens.base import BaseScreen
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.painted import Painted


class ReviewScreen(BaseScreen):
    """Shows one spec and submits it once."""

    CRUMBS = ("Review",)
    CSS_PATH = "review.tcss"
    BINDINGS = bindings.REVIEW
    HELP: ClassVar[str] = (
        "Nothing has been created yet. The button, or {review.deploy}, submits the job; {review.back} goes back to the form."
    )

    def __init__(self, spec: JobSpec, volumes: Sequence[Volume] = ()) -> None:
        super().__init__()
        self._spec = spec
        self._volumes = volumes
        self._is_submitted = False

    def body(self) -> Iterator[Widget]:
        with VerticalScroll(id="page", can_focus=False):
            yield Painted(id="text")
        with Horizontal(id="buttons"):
            yield Button(join("Back ", (key_of(self.app, "review.back"), "not bold")), id="back", compact=True)
            yield Button(join("Deploy ", (key_of(self.app, "review.deploy"), "not bold")), id="deploy", compact=True)

    def on_mount(self) -> None:
        self.query_one("#back", Button).focus()

    def refresh_data(self) -> None:
        text = self.query_one("#text", Painted)
        try:
            plan = self.desk.plan(self._spec, self._volumes)
            plan.require_quote()
        except GputuiError as error:
            why = styled(plain(in_keys(self.app, str(error))), "$state-failed")
            text.show(lambda width: Content("\n").join(why.wrap(max(1, width))))
            return
        attempts = self.desk.config.agent.max_attempts
        gap = 2 if self.size.height >= 32 else 1
        now_ms, max_age_s = self.desk.clock.now_ms(), self.desk.config.offers.max_age_s
        text.show(
            lambda width: plan_render.review(
                self._spec,
                plan,
                provider_info,
                now_ms=now_ms,
                max_age_s=max_age_s,
                width=width,
                attempts=attempts,
                gap=gap,
            )
        )

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page").scroll_relative(y=lines, animate=False)

    @on(Button.Pressed, "#back")
    def _back(self) -> None:
        self.gputui.action_escape()

    @on(Button.Pressed, "#deploy")
    def action_deploy(self) -> None:
        """Submit the job, once."""
        if not self._is_submitted:
            self._is_submitted = True
            self.query_one("#deploy", Button).disabled = True
            self._submit()

    @work(group="submit", exit_on_error=False)
    async def _submit(self) -> None:
        try:
            job = await on_own_desk(self.desk, lambda desk: desk.submit(self._spec))
        except AgentError as error:
            # The job is written: it waits, and any later command starts the agent.
            self.gputui.tell(error)
            self._show_jobs(None)
        except GputuiError as error:
            self._is_submitted = False
            self.query_one("#deploy", Button).disabled = False
            self.gputui.tell(error)
        else:
            self._show_jobs(job.id)

    def _show_jobs(self, job_id: str | None) -> None:
        self.gputui.look()
        self.dismiss()
        if job_id is not None:
            self.gputui.open_job(job_id)
        else:
            self.gputui.action_go("jobs")
