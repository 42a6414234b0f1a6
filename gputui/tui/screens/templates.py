"""The list of templates: one to fill the form with, or to delete after a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gputui.core.templates import Template
from gputui.model.units import span
from gputui.tui.screens.confirm import ConfirmScreen, Question
from gputui.tui.screens.pick import Choice, PickScreen
from gputui.tui.widgets.row_list import RowList


class TemplatesScreen(PickScreen):
    """Dismissed with a template's name, None when none was chosen. `remove` deletes one."""

    def __init__(self, templates: Iterable[Template], *, remove: Callable[[str], None]) -> None:
        choices = [Choice(template.name, template.name, _note(template)) for template in templates]
        super().__init__("Templates", choices, remove=remove)

    def action_remove(self) -> None:
        name = self.query_one(RowList).key
        if name is None:
            return
        question = Question(
            f"Delete the template {name}?", ["Jobs made from it stay as they are."], yes="Delete", is_danger=True
        )
        self.app.push_screen(ConfirmScreen(question), self._answered)

    def _answered(self, yes: bool | None) -> None:
        if yes:
            super().action_remove()


def _note(template: Template) -> str:
    spec = template.spec
    what = spec.command or "a machine to log in to"
    limit = f"at most {span(spec.max_duration_s)}" if spec.max_duration_s else "no limit"
    return f"{spec.gpu_count} × {spec.gpu}, {limit}   {what}"
