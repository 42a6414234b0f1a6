"""Screen 3: describe a job; beside the form, where it would run and why not elsewhere. Nothing here spends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button

from gputui.core import catalog
from gputui.core.routing import no_match
from gputui.model.errors import AuthError, GputuiError, UsageError
from gputui.model.types import JobKind, JobSpec
from gputui.providers.registry import provider_info
from gputui.tui import bindings, deploy_form
from gputui.tui.render import plan as plan_render
from gputui.tui.render.text import join, plain, rule, styled
from gputui.tui.screens.base import BaseScreen
from gputui.tui.screens.review import ReviewScreen
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted, Painter


class DeployScreen(BaseScreen):
    """The form keeps what was typed while other pages are shown."""

    CRUMBS = ("Deploy",)
    HELP_SCOPES = ("deploy", "form")
    CSS_PATH = "deploy.tcss"
    BINDINGS = bindings.DEPLOY
    HELP: ClassVar[str] = (
        "Fill in what to run; at the right you see which machine would be taken, and why the others would not. "
        "Tab and enter go on, left and right change a choice. Page down shows the review; only there a job is submitted."
    )

    def body(self) -> Iterator[Widget]:
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield Painted(id="what")
                yield DeployForm(deploy_form.sections(self.desk.accounts.names()), id="form")
                yield Button(join("Review ", ("pgdn", "$faint")), id="to-review", compact=True)
            with Vertical(id="right"):
                yield Painted(id="plan-title")
                yield Painted(id="plan")
                yield Painted(id="bill")

    def on_mount(self) -> None:
        super().on_mount()
        limit_s = self.desk.config.jobs.default_max_duration_s
        self._form.fill(deploy_form.fill(JobSpec(gpu="", max_duration_s=limit_s)))
        self._form.focus_field("gpu")

    @property
    def _form(self) -> DeployForm:
        return self.query_one(DeployForm)

    def fill(self, spec: JobSpec) -> None:
        """Show a spec; what it leaves open keeps what was typed before only when the spec says nothing at all of it."""
        values = deploy_form.fill(spec)
        if spec.command is None and spec.image is None:
            values = {
                name: value for name, value in values.items() if name in ("gpu", "gpu_count", "provider", "region")
            }
            values["region"] = ""
        self._form.fill(values)
        self._form.show_mistakes({})
        self._form.focus_field("command" if spec.command is None else "gpu")

    def refresh_data(self) -> None:
        if self.gputui.accounts:
            self._form.set_choices(
                "provider", [deploy_form.ANY, *(account.info.name for account in self.gputui.accounts)]
            )
        self._show_plan()

    @on(DeployForm.Changed)
    def _form_changed(self) -> None:
        _, mistakes = deploy_form.parse(self._form.values)
        mistakes.pop("gpu", None)  # an empty form is not a mistake yet
        self._form.show_mistakes(mistakes)
        self.reload()

    def _show_plan(self) -> None:
        self.query_one("#what", Painted).show(lambda width: rule(join(("Job", "bold")), width))
        spec, mistakes = deploy_form.parse(self._form.values)
        if spec is None:
            only_gpu = set(mistakes) == {"gpu"}
            text = "Name a GPU and the candidates appear here." if only_gpu else "Something in the form cannot be read."
            self._show_texts("", styled(text, "$muted"))
        elif not self.gputui.accounts:
            self._show_texts("", styled("Looking up your keys …", "$muted"))
        else:
            self._show_candidates(spec)

    def _show_candidates(self, spec: JobSpec) -> None:
        try:
            # Where a job can run does not depend on its command, so the plan shows before there is one.
            wanted = self.desk.checked(replace(spec, kind=JobKind.MACHINE, command=None))
            plan = catalog.plan(self.desk.store, self.desk.accounts, wanted)
        except (UsageError, AuthError) as error:
            self._show_texts("", styled(plain(str(error)), "$state-failed"))
            return
        rows = max(6, self.query_one("#right").size.height - 4)
        if plan.quotes:
            self._show_texts(
                styled(f"{len(plan.quotes)} of {plan.considered} fit, by {spec.priority.value}", "$muted"),
                lambda width: plan_render.candidates(plan, provider_info, width, rows),
                lambda width: plan_render.bill(plan, spec, provider_info, width),
            )
        else:
            why = styled(plain(str(no_match(plan))), "$state-failed")
            self._show_texts(
                styled("nothing fits", "$state-failed"),
                lambda width: Content("\n").join(
                    [*why.wrap(width), Content(""), plan_render.candidates(plan, provider_info, width, rows - 4)]
                ),
            )

    def _show_texts(self, title: Content | str, body: Content | Painter, bill: Painter | None = None) -> None:
        """Show the three parts of the right side; text is wrapped, a painter knows what to do with its width."""
        paint = body if callable(body) else lambda width: Content("\n").join(body.wrap(max(1, width)))
        self.query_one("#plan-title", Painted).show(
            lambda width: rule(join(("Plan", "bold")), width, right_title=title)
        )
        self.query_one("#plan", Painted).show(paint)
        self.query_one("#bill", Painted).show(bill or (lambda width: Content("")))

    # The way to the review

    @on(Button.Pressed, "#to-review")
    def action_review(self) -> None:
        """Show the review when the form is right; else the first mistake, at its field."""
        spec, mistakes = deploy_form.parse(self._form.values)
        if spec is None:
            self._form.show_mistakes(mistakes)
            self._form.focus_field(next(iter(mistakes)))
            return
        try:
            checked = self.desk.checked(spec)
            plan = self.desk.plan(checked)
            plan.require_quote()
        except UsageError as error:
            field = deploy_form.form_field(error.field)
            self._form.show_mistakes({field: str(error)})
            self._form.focus_field(field)
            return
        except AuthError as error:
            self._form.show_mistakes({"provider": str(error)})
            self._form.focus_field("provider")
            return
        except GputuiError as error:
            self.gputui.tell(error)
            return
        self._form.show_mistakes({})
        self.app.push_screen(ReviewScreen(checked))

    def action_enter(self) -> None:
        if isinstance(self.focused, Button):
            self.action_review()
        else:
            self.focus_next()

    def action_clear(self) -> None:
        self._form.fill(deploy_form.fill(JobSpec(gpu="", max_duration_s=self.desk.config.jobs.default_max_duration_s)))
        self._form.show_mistakes({})
        self._form.focus_field("gpu")
