"""Screen 3: describe a job; beside the form, where it would run, what it costs and why not elsewhere. Nothing here spends."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button

from gputui.core import catalog, resources
from gputui.core.intake import check_gpu
from gputui.core.routing import Plan, no_match
from gputui.core.templates import Template, delete_template, load_templates, looks_secret, save_template
from gputui.model.errors import AuthError, GputuiError, NotSupported, UsageError
from gputui.model.gpus import BY_NAME
from gputui.model.types import JobKind, JobSpec, Volume
from gputui.providers.registry import provider_info
from gputui.store.offers import known_gpus
from gputui.tui import bindings, deploy_form, deploy_options
from gputui.tui.deploy_form import Option, sentence
from gputui.tui.render import plan as plan_render
from gputui.tui.render.text import join, plain, plain_lines, styled
from gputui.tui.screens.base import BaseScreen
from gputui.tui.screens.review import ReviewScreen
from gputui.tui.screens.save_template import SaveTemplateScreen
from gputui.tui.screens.templates import TemplatesScreen
from gputui.tui.ways import in_keys, key_of
from gputui.tui.widgets.choice import Choice
from gputui.tui.widgets.env_area import EnvArea
from gputui.tui.widgets.form import DeployForm
from gputui.tui.widgets.painted import Painted, Painter

STEPS = (*(section.title for section in deploy_form.SECTIONS), "Review")
# What is asked of a provider once it is chosen, and what an account there is asked for.
_ASKED_FOR = {"os_image": ("os-images", "images"), "volumes": ("attach volumes at create", "volumes")}


class DeployScreen(BaseScreen):
    """The form keeps what was typed while other pages are shown."""

    CSS_PATH = "deploy.tcss"
    BINDINGS = bindings.DEPLOY
    HELP: ClassVar[str] = (
        "Fill in what to run; at the right you see which machine would be taken, what it costs, and why the others would "
        "not do. Tab, enter and the arrows go from field to field, {deploy.step} and {deploy.step-back} from step to "
        "step. Left and right change a choice, {form.pick} shows its list. After the last step comes the review: only "
        "there a job is submitted."
    )

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str], Sequence[Option] | GputuiError] = {}
        self._volumes: dict[tuple[str, tuple[str, ...]], tuple[Volume, ...] | GputuiError] = {}
        self._provider = deploy_form.ANY
        self._pointed_at: dict[str, str] = {}
        self._template = ""

    def body(self) -> Iterator[Widget]:
        yield Painted(id="steps")
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield DeployForm(deploy_form.SECTIONS, id="form")
                yield Button(
                    join("Review ", (key_of(self.app, "deploy.review"), "not bold")), id="to-review", compact=True
                )
            with Vertical(id="right"):
                yield Painted(id="plan-title")
                yield Painted(id="plan")
                yield Painted(id="bill")

    def on_mount(self) -> None:
        self.action_clear()

    @property
    def _form(self) -> DeployForm:
        return self.query_one(DeployForm)

    # Filling the form

    def fill(self, spec: JobSpec) -> None:
        """Show a spec. One that is no job yet, a machine somebody pointed at, leaves the rest as it is."""
        values = deploy_form.fill(spec)
        if is_place := spec.kind is JobKind.BATCH and spec.command is None:
            place = ("gpu", "gpu_count", "provider", "region", "tier")
            values = {name: value for name, value in values.items() if name in place}
        self._fill(values)
        self._form.focus_field("command" if is_place else "gpu")

    def _fill(self, values: Mapping[str, str]) -> None:
        self._provider = values.get("provider", self._provider)  # what goes with it comes along
        self._form.fill(values)

    def action_clear(self) -> None:
        self._template = ""
        limit_s = self.desk.config.jobs.default_max_duration_s
        self._fill(deploy_form.fill(JobSpec(gpu="", env=self.gputui.usual_env, max_duration_s=limit_s)))
        self._form.focus_field("gpu")

    @on(DeployForm.Changed)
    def _form_changed(self, event: DeployForm.Changed) -> None:
        self._pointed_at = {}
        if event.values["provider"] != self._provider:
            # Regions, images and volumes are the provider's own, and there may be others by now.
            self._provider = event.values["provider"]
            self._forget_told(self._provider)
            self._form.fill(dict.fromkeys(("region", "tier", "os_image", "volumes"), deploy_form.ANY))
        else:
            self.reload()

    @on(DeployForm.Moved)
    def _form_moved(self) -> None:
        self.reload()

    def accounts_known(self) -> None:
        self.reload()

    # What is shown

    @property
    def room(self) -> Hashable:
        return self.app.size, self.query_one("#right").size.height

    def refresh_data(self) -> None:
        values = self._form.values
        reasons = deploy_options.unused(values)
        spec, mistakes = deploy_form.parse(values, unused=reasons)
        self._form.show_unused(reasons)
        self._form.suggest("gpu", sorted({*known_gpus(self.desk.store), *BY_NAME}))
        self._offer_what_is_told(values["provider"], reasons)
        if not values["gpu"].strip():
            mistakes.pop("gpu", None)  # an empty form is not a mistake yet
            text = "Something in the form cannot be read." if mistakes else "Name a GPU and the candidates appear here."
            self._show_texts("", styled(text, "$muted"))
            self._offer_market(None)
        elif spec is None:
            self._show_texts("", styled("Something in the form cannot be read.", "$muted"))
        elif not self.gputui.accounts:
            self._show_texts("", styled("Looking up your keys …", "$muted"))
        else:
            mistakes = self._show_candidates(spec)
        mistakes = {**mistakes, **self._pointed_at}
        self._form.show_mistakes(mistakes)
        self._show_steps(mistakes)

    def _show_steps(self, mistakes: Mapping[str, str]) -> None:
        here = self._form.section if self._form.focused_field else len(STEPS) - 1
        wrong = {
            place
            for place, section in enumerate(deploy_form.SECTIONS)
            if any(field.name in mistakes for field in section.fields)
        }
        note = f"template {plain(self._template)}" if self._template else "nothing is created before the review"
        self.query_one("#steps", Painted).show(
            lambda width: plan_render.steps(STEPS, width, here=here, wrong=wrong, note=note)
        )

    def _show_candidates(self, spec: JobSpec) -> dict[str, str]:
        """Show where a job would run, and return what the core finds wrong with it."""
        # Where a job can run does not depend on its command, so the plan shows before there is one.
        shown = replace(spec, command=spec.command or "true")
        try:
            checked = self.desk.checked(shown)
            volumes = self._volumes_of(checked)
            if volumes is None:
                self._show_texts("", styled("Looking for the volumes …", "$muted"))
                return {}
            plan = self._plan(checked, volumes)
        except GputuiError as error:
            return self._show_mistake(spec, error)
        self._offer_market(plan)
        rows = max(6, self.query_one("#right").size.height - 5)
        if plan.quotes:
            self._show_texts(
                styled(f"{len(plan.quotes)} of {plan.considered} fit, by {spec.priority.value}", "$muted"),
                lambda width: plan_render.candidates(plan, provider_info, width, rows),
                lambda width: plan_render.bill(plan, spec, provider_info, width),
            )
        else:
            why = styled(plain(sentence(no_match(plan))), "$state-failed")
            self._show_texts(
                styled("nothing fits", "$state-failed"),
                lambda width: Content("\n").join(
                    [*why.wrap(width), Content(""), plan_render.candidates(plan, provider_info, width, rows - 4)]
                ),
            )
        return {}

    def _show_mistake(self, spec: JobSpec, error: GputuiError) -> dict[str, str]:
        """Say beside the form what is wrong, and return it for its field, unless that is being typed."""
        self._show_texts("", styled(plain(sentence(error)), "$state-failed"))
        try:
            check_gpu(spec.gpu, known_gpus(self.desk.store))
            self._offer_market(catalog.plan(self.desk.store, self.desk.accounts, JobSpec(gpu=spec.gpu)))
        except UsageError:
            self._offer_market(None)
        field = _field_of(error)
        return {field: sentence(error)} if field is not None and field != self._form.focused_field else {}

    def _plan(self, spec: JobSpec, volumes: Sequence[Volume]) -> Plan:
        plan = catalog.plan(self.desk.store, self.desk.accounts, spec, volumes=volumes)
        statuses = self.desk.provider_statuses()
        failing = {
            name: f"its prices are old: {status.error}"
            for name, status in statuses.items()
            if status.error and spec.provider in (None, name) and name not in plan.unavailable
        }
        why = {name: in_keys(self.app, reason) for name, reason in {**plan.unavailable, **failing}.items()}
        return replace(plan, unavailable=why)

    def _show_texts(self, title: Content | str, body: Content | Painter, bill: Painter | None = None) -> None:
        """Show the three parts of the right side; text is wrapped, a painter knows what to do with its width."""
        paint = body if callable(body) else lambda width: Content("\n").join(body.wrap(max(1, width)))
        self.query_one("#plan-title", Painted).show(lambda width: plan_render.title("Plan", width, title))
        self.query_one("#plan", Painted).show(paint)
        self.query_one("#bill", Painted).show(bill or (lambda width: Content("")))

    # What there is to choose from

    def _offer_market(self, plan: Plan | None) -> None:
        accounts = {account.info.name: account.label for account in self.gputui.accounts if account.usable}
        for name, options in deploy_options.market_options(plan, accounts, provider=self._provider).items():
            self._form.choice(name).set_options(options)

    def _offer_what_is_told(self, provider: str, reasons: Mapping[str, str]) -> None:
        """Show a provider's images and volumes, asking for them once."""
        for field, (capability, what) in _ASKED_FOR.items():
            choice = self._form.choice(field)
            if not provider or field in reasons or not deploy_options.can(provider, capability):
                choice.set_options([Option(deploy_form.ANY, "the usual one")] if field == "os_image" else [])
                continue
            told = self._told.get((field, provider))
            title = provider_info(provider).title
            problem = next((a.problem for a in self.gputui.accounts if a.info.name == provider), None)
            if problem is not None:
                choice.set_waiting(in_keys(self.app, problem), failed=True)
            elif told is None:
                choice.set_waiting(f"asking {title} for its {what} …")
                self._ask(field, provider)
            elif isinstance(told, GputuiError):
                choice.set_waiting(f"{key_of(self.app, 'form.pick')} asks again: {told.message}", failed=True)
            else:
                choice.set_options(told)

    @on(Choice.AskedAgain)
    def _ask_again(self) -> None:
        self._forget_told(self._provider)
        self.reload()

    def _forget_told(self, provider: str) -> None:
        self._told = {key: told for key, told in self._told.items() if key[1] != provider}
        self._volumes = {key: found for key, found in self._volumes.items() if key[0] != provider}

    def _ask(self, field: str, provider: str) -> None:
        if not any(worker.group == f"{field} {provider}" for worker in self.workers if worker.is_running):
            self.run_worker(self._ask_for(field, provider), group=f"{field} {provider}", exit_on_error=False)

    async def _ask_for(self, field: str, provider: str) -> None:
        """Fetch what a provider has, without holding anything up."""
        told: Sequence[Option] | GputuiError
        try:
            if field == "os_image":
                images = await resources.list_os_images(self.desk.accounts, [provider])
                told = images.problems.get(provider) or deploy_options.image_options(images.answers[provider])
            else:
                rows, problems = await self.desk.volumes([provider])
                told = problems.get(provider) or deploy_options.volume_options(rows)
        except GputuiError as error:
            told = error
        self._told[field, provider] = told
        self.reload()

    def _volumes_of(self, spec: JobSpec) -> tuple[Volume, ...] | None:
        """Return the volumes that a job names, None while they are looked for. Raises what looking for them did."""
        if not spec.volumes or spec.provider is None:
            return ()
        found = self._volumes.get((spec.provider, spec.volumes))
        if isinstance(found, GputuiError):
            raise found
        if found is None:
            self._find_volumes(spec)
        return found

    @work(group="volumes", exclusive=True, exit_on_error=False)
    async def _find_volumes(self, spec: JobSpec) -> None:
        try:
            found: tuple[Volume, ...] | GputuiError = await self.desk.find_volumes(spec)
        except GputuiError as error:
            found = error
        self._volumes[str(spec.provider), spec.volumes] = found
        self.reload()

    # Templates

    def action_save_template(self) -> None:
        spec = self._right_spec()
        if spec is None:
            return
        templates = load_templates(self.desk.paths.templates_file)
        secrets = [name for name in spec.env if looks_secret(name)]

        def named(answer: tuple[str, bool] | None) -> None:
            if answer is not None:
                self._save(answer[0], spec, with_secrets=answer[1])

        self.app.push_screen(
            SaveTemplateScreen(taken=list(templates.usable), secrets=secrets, name=self._template or spec.name or ""),
            named,
        )

    def _save(self, name: str, spec: JobSpec, *, with_secrets: bool) -> None:
        try:
            saved = save_template(self.desk.paths.templates_file, name, spec, with_secrets=with_secrets)
        except GputuiError as error:
            self.gputui.tell(error)
            return
        self._template = name
        without = f" without the value of {', '.join(saved.left_out)}" if saved.left_out else ""
        lists = key_of(self.app, "deploy.templates")
        self.notify(plain(f"Saved{without}. {lists} lists the templates."), title=plain(name), markup=False)
        self.reload()

    def action_templates(self) -> None:
        path = self.desk.paths.templates_file
        templates = load_templates(path)
        if templates.problems:
            self.notify(
                plain_lines(templates.problems), title="Templates", severity="warning", markup=False, timeout=15
            )
        if not templates.usable:
            if not templates.problems:
                keeps = key_of(self.app, "deploy.save")
                self.notify(f"There is no template yet. {keeps} keeps what the form says as one.", markup=False)
            return

        def chosen(name: str | None) -> None:
            if name is not None:
                self.fill_from(templates.usable[name])

        def remove(name: str) -> None:
            try:
                delete_template(path, name)
            except GputuiError as error:
                self.gputui.tell(error)

        self.app.push_screen(TemplatesScreen(templates.usable.values(), remove=remove), chosen)

    def fill_from(self, template: Template) -> None:
        """Show a template; the variables whose values it leaves out wait to be filled in."""
        values = deploy_form.fill(template.spec)
        missing = [f"{name}=" for name in template.left_out]
        values["env"] = "\n".join(line for line in [values["env"], *missing] if line)
        self._template = template.name
        self._fill(values)
        self._form.focus_field("env" if missing else "gpu")
        if missing:
            names = ", ".join(template.left_out)
            self.notify(plain(f"The template keeps no secrets: fill in {names}."), markup=False)

    # The way to the review

    def action_step(self, steps: int) -> None:
        """Go to another step of the form, from the last one to the review."""
        wanted = self._form.section + steps
        if wanted >= len(deploy_form.SECTIONS):
            self.action_review()
        elif self._form.focused_field is None:
            self._form.focus_section(len(deploy_form.SECTIONS) - 1)
        else:
            self._form.focus_section(max(0, wanted))

    @on(Button.Pressed, "#to-review")
    def action_review(self) -> None:
        """Show the review when the form is right; else the first mistake, at its field."""
        spec = self._right_spec()
        if spec is None:
            return
        try:
            volumes = self._volumes_of(spec)
            if volumes is None:
                self.notify("The volumes are still being looked for.", markup=False)
                return
            plan = self.desk.plan(spec, volumes)
        except GputuiError as error:
            self._point_at(_field_of(error), error)
            return
        if not plan.quotes:
            self._point_at(deploy_form.field_ruling_out(plan), no_match(plan))
            return
        self.app.push_screen(ReviewScreen(spec, volumes))

    def _right_spec(self) -> JobSpec | None:
        """Return what the form says; when something is wrong with it, go there instead."""
        values = self._form.values
        spec, mistakes = deploy_form.parse(values, unused=deploy_options.unused(values))
        if spec is None:
            self._point_at_all(mistakes)
            return None
        try:
            return self.desk.checked(spec)
        except GputuiError as error:
            self._point_at(_field_of(error), error)
            return None

    def _point_at(self, field: str | None, error: GputuiError) -> None:
        """Show a mistake at its field, or as a message when no field is to blame."""
        if field is None:
            self.notify(plain(sentence(error)), title=error.code.replace("_", " "), severity="error", markup=False)
        else:
            self._point_at_all({field: sentence(error)})

    def _point_at_all(self, mistakes: dict[str, str]) -> None:
        """Show mistakes until the form is changed, and go to the first one."""
        self._pointed_at = mistakes
        self._form.focus_field(next(field.name for field in deploy_form.FIELDS if field.name in mistakes))
        self.reload()

    def action_line(self, lines: int) -> None:
        """Go to another line of the variables, or to another field."""
        focused = self.focused
        if isinstance(focused, EnvArea) and focused.move(lines):
            return
        if lines > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_enter(self) -> None:
        if isinstance(self.focused, Button):
            self.action_review()
        elif isinstance(self.focused, EnvArea) and self.focused.text.strip():
            self.focused.insert("\n")
        else:
            self.focus_next()


def _field_of(error: GputuiError) -> str | None:
    """Return the field to which an error belongs, None when no field is to blame."""
    if isinstance(error, UsageError):
        return deploy_form.form_field(error.field)
    if isinstance(error, (AuthError, NotSupported)):
        return "provider"
    return None
