"""Every key in one table. The footer, the help and the palette are made from it.

A binding's id (`scope.verb`) is what a user's own keymap names; it never changes. The description is what the footer
says, the tooltip is the whole sentence in help and palette.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType


def _key(ident: str, keys: str, action: str, word: str, tooltip: str, *, show: bool = True, display: str | None = None,
         priority: bool = False) -> Binding:  # fmt: skip
    return Binding(keys, action, word, show=show, key_display=display, tooltip=tooltip, id=ident, priority=priority)


GLOBAL: list[BindingType] = [
    _key("go.matrix", "1", "go('matrix')", "matrix", "Prices of every GPU at every provider", show=False),
    _key("go.deploy", "3", "go('deploy')", "deploy", "Describe a job and see where it would run", show=False),
    _key("go.jobs", "4", "go('jobs')", "jobs", "Jobs, what they cost and their logs", show=False),
    _key("go.back", "minus", "previous_page", "previous page", "Go to the page shown before this one", show=False),
    _key("app.guard", "A", "guard", "start agent", "Start the agent that watches running machines", display="A"),
    _key("app.theme", "T", "next_theme", "theme", "Change to the next theme", show=False),
    _key("app.palette", "colon,ctrl+p", "command_palette", "command", "Find any command by name", display=":"),
    _key("app.help", "question_mark,f1", "help", "help", "Show every key of this screen", display="?"),
    _key("app.back", "q", "back_or_quit", "back", "Go back; at the first page, quit", show=False),
    _key("app.quit", "ctrl+q", "quit_asked", "quit", "Leave; jobs that run go on", show=False, priority=True),
    _key("app.escape", "escape", "escape", "back", "One level back; never quits", show=False),
]

LIST: list[BindingType] = [
    _key("list.up", "up,k", "move(-1)", "up", "One row up", show=False),
    _key("list.down", "down,j", "move(1)", "down", "One row down", show=False),
    _key("list.page-up", "pageup", "page(-1)", "page up", "One page up", show=False),
    _key("list.page-down", "pagedown", "page(1)", "page down", "One page down", show=False),
    _key("list.top", "g,home", "edge(-1)", "top", "First row", show=False),
    _key("list.bottom", "G,end", "edge(1)", "bottom", "Last row", show=False),
    _key("list.open", "enter", "choose", "open", "Open the row under the cursor", show=False),
]

MATRIX: list[BindingType] = [
    _key("matrix.deploy", "n", "deploy", "deploy", "Describe a job on the GPU and provider under the cursor"),
    _key("list.filter", "slash", "filter", "filter", "Show only GPUs whose name has what you type", display="/"),
    _key("list.refresh", "r", "refresh_offers", "refresh", "Fetch the prices of every provider now"),
]

MATRIX_TABLE: list[BindingType] = [
    _key("matrix.left", "left,h", "move_column(-1)", "left", "One provider to the left", show=False),
    _key("matrix.right", "right,l", "move_column(1)", "right", "One provider to the right", show=False),
]

DEPLOY: list[BindingType] = [
    # Priority, so that they are done at once: keys that arrive in one burst over a slow line must not all land in the
    # field that had the focus when the burst began.
    _key(
        "deploy.next-field",
        "tab",
        "app.focus_next",
        "next field",
        "Next field of the form",
        display="tab",
        priority=True,
    ),
    _key(
        "deploy.previous-field",
        "shift+tab",
        "app.focus_previous",
        "field before",
        "Field before this one",
        show=False,
        priority=True,
    ),
    _key(
        "deploy.enter",
        "enter",
        "enter",
        "next field",
        "Next field; on the button, the review",
        show=False,
        priority=True,
    ),
    # Priority, because to Textual every text field is a scroll view and would take the key.
    _key(
        "deploy.review",
        "pagedown",
        "review",
        "review",
        "See what it costs before anything is created",
        display="pgdn",
        priority=True,
    ),
    _key("deploy.clear", "ctrl+l", "clear", "clear form", "Empty every field of the form", show=False),
]

REVIEW: list[BindingType] = [
    _key("review.deploy", "ctrl+j", "deploy", "deploy", "Submit the job: this is what spends", display="^j"),
    _key("review.up", "up,k", "scroll(-1)", "up", "See what is further up", show=False),
    _key("review.down", "down,j", "scroll(1)", "down", "See what is further down", show=False),
    _key("review.other", "left,right", "app.focus_next", "other button", "Move between the buttons", show=False),
    _key("review.back", "pageup", "app.escape", "back to the form", "Change something first", display="esc"),
]

JOBS: list[BindingType] = [
    _key("jobs.log", "l", "focus_log", "log", "Move to the log of the job under the cursor"),
    _key("jobs.stop", "x", "stop", "stop", "Stop the job and end its machine, after a question"),
    _key("jobs.again", "R", "again", "run again", "Fill the deploy form with this job's settings", display="R"),
    _key("jobs.events", "e,left_square_bracket,right_square_bracket", "toggle_events", "events",
         "Change between the log and the timeline of events", display="e"),
    _key("jobs.zoom", "z", "zoom", "zoom", "Give the log the whole screen, or give it back"),
    _key("jobs.ssh", "s", "ssh", "log in", "Log in to the job's machine over SSH"),
    _key("jobs.new", "n", "new", "new job", "Describe a new job", show=False),
]  # fmt: skip

LOG: list[BindingType] = [
    _key("log.follow", "f", "follow", "follow", "Stay at the end as lines come in, or stop doing so"),
    _key("log.end", "G,end", "end", "end", "Go to the last line and follow", display="G"),
    _key("log.start", "g,home", "start", "start", "Go to the first line", show=False),
    _key("log.up", "up,k", "lines(-1)", "up", "One line up", show=False),
    _key("log.down", "down,j", "lines(1)", "down", "One line down", show=False),
    _key("log.left", "left,h", "columns(-8)", "left", "See what is further left", show=False),
    _key("log.right", "right", "columns(8)", "right", "See what is further right", show=False),
    _key("log.page-up", "pageup", "pages(-1)", "page up", "One page up", show=False),
    _key("log.page-down", "pagedown,space", "pages(1)", "page down", "One page down", show=False),
]

CONFIRM: list[BindingType] = [
    _key("confirm.yes", "y", "answer(True)", "yes", "Do it"),
    _key("confirm.no", "n,escape,q", "answer(False)", "no", "Leave everything as it is", display="n"),
    _key(
        "confirm.other",
        "left,right,up,down,tab,shift+tab",
        "other",
        "other button",
        "Move between yes and no",
        show=False,
    ),
]

HELP: list[BindingType] = [
    _key("help.close", "escape,q,question_mark,f1,enter", "dismiss", "close", "Close this page", display="esc"),
]

FORM: list[BindingType] = [
    _key("form.previous", "left,h", "turn(-1)", "previous choice", "Choose the word before", show=False),
    _key("form.next", "right,l,space", "turn(1)", "next choice", "Choose the next word", show=False),
    _key("form.leave", "down,j", "app.focus_next", "next field", "Go to the next field", show=False),
    _key("form.back", "up,k", "app.focus_previous", "previous field", "Go to the field before", show=False),
]

TABLES: tuple[list[BindingType], ...] = (
    GLOBAL,
    LIST,
    MATRIX,
    MATRIX_TABLE,
    DEPLOY,
    FORM,
    REVIEW,
    JOBS,
    LOG,
    CONFIRM,
    HELP,
)


def in_scopes(*scopes: str) -> list[Binding]:
    """Return every binding whose id begins with one of the scopes, in the order of the tables."""
    bindings = [binding for table in TABLES for binding in table if isinstance(binding, Binding)]
    return [binding for binding in bindings if (binding.id or "").partition(".")[0] in scopes]
