"""Every key in one table. The footer, the help, the palette and the check of a user's own keymap are made from it.

A binding's id (`scope.verb`) is what a user's own keymap names; it never changes. The description is what the footer
says, the tooltip is the whole sentence in help and palette, the group is the heading it has in help.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from textual.binding import Binding, BindingType

from gputui.tui.pages import PAGES


def _key(ident: str, keys: str, action: str, word: str, tooltip: str, *, show: bool = True, display: str | None = None,
         priority: bool = False) -> Binding:  # fmt: skip
    return Binding(keys, action, word, show=show, key_display=display, tooltip=tooltip, id=ident, priority=priority)


def _group(title: str, *bindings: Binding) -> list[BindingType]:
    group = Binding.Group(title)
    return [replace(binding, group=group) for binding in bindings]


GLOBAL = _group(
    "Everywhere",
    *(_key(f"go.{page.name}", page.key, f"go('{page.name}')", page.title.lower(), page.tooltip, show=False)
      for page in PAGES),
    _key("go.back", "minus", "previous_page", "previous page", "Go to the page shown before this one", show=False),
    _key("app.guard", "A", "guard", "start agent", "Start the agent that watches running machines", display="A"),
    _key("app.theme", "T", "pick_theme", "theme", "Choose a theme, seeing each one first", show=False),
    _key("app.suspend", "ctrl+z", "suspend_process", "suspend", "Stop here and give the shell; fg comes back", show=False),
    _key("app.repaint", "f5", "repaint", "repaint", "Paint the whole screen again", show=False),
    _key("app.palette", "colon,ctrl+p", "command_palette", "command", "Find any command by name", display=":"),
    _key("app.help", "question_mark,f1", "help", "help", "Show every key of this screen", display="?"),
    _key("app.back", "q", "back_or_quit", "back", "Back to where this page was opened from, else quit", show=False),
    _key("app.quit", "ctrl+q", "quit_asked", "quit", "Leave; jobs that run go on", priority=True),
    _key("app.escape", "escape", "escape", "back", "One level back; never quits", show=False),
)  # fmt: skip

LIST = _group(
    "In the list",
    _key("list.up", "up,k", "move(-1)", "up", "One row up", show=False),
    _key("list.down", "down,j", "move(1)", "down", "One row down", show=False),
    _key("list.page-up", "pageup", "page(-1)", "page up", "One page up", show=False),
    _key("list.page-down", "pagedown", "page(1)", "page down", "One page down", show=False),
    _key("list.top", "g,home", "edge(-1)", "top", "First row", show=False),
    _key("list.bottom", "G,end", "edge(1)", "bottom", "Last row", show=False),
    _key("list.open", "enter", "choose", "open", "Open the row under the cursor", show=False),
)

# On every page that shows the market.
MARKET = _group(
    "This page",
    # Priority, so that keys that come in one burst with these land where they are meant to.
    _key("list.filter", "slash", "filter", "filter", "Show only what fits what you type", display="/", priority=True),
    _key("list.keep-filter", "enter", "keep_filter", "keep", "Keep the filter and go to the list", priority=True),
    _key("list.clear-filter", "escape", "clear_filter", "clear", "Clear the filter"),
    _key("list.refresh", "r", "refresh_offers", "refresh", "Fetch the prices of every provider now"),
)

MATRIX = _group(
    "This page",
    _key("matrix.connect", "c", "connect", "connect", "Connect the provider under the cursor, with a key of your own"),
    _key("matrix.demo", "d", "try_demo", "demo", "Try everything on simulated clouds"),
    _key("matrix.best", "b", "best", "cheapest", "Go to the cheapest provider of this GPU"),
    _key("matrix.deploy", "n", "deploy", "deploy", "Describe a job on the GPU and provider under the cursor"),
    _key("matrix.hours", "e", "hours", "hours", "Choose how long the work is expected to take"),
)

OFFERS = _group(
    "This page",
    _key("offers.deploy", "n", "deploy", "deploy", "Describe a job on the offer under the cursor"),
    _key("offers.details", "d", "details", "details", "Show or hide everything known of the offer"),
    _key("offers.wait", "W", "wait", "wait", "Be told when the sold-out offer under the cursor is back", show=False),
    _key("offers.order", "o", "order", "order", "Choose what to order by"),
    _key("offers.reverse", "O", "reverse", "reverse", "Turn the order round", show=False, display="O"),
    _key(
        "offers.unit", "dollar_sign", "unit", "per GPU", "Show prices per GPU, or per machine", display="$", show=False
    ),
    _key("offers.hours", "e", "hours", "hours", "Choose how long the work is expected to take", show=False),
    _key("offers.wide", "w", "wide", "wide", "Show every column, or only what matters most", show=False),
    _key("offers.left", "left,h", "columns(-1)", "left", "With every column: see those further left", show=False),
    _key("offers.right", "right,l", "columns(1)", "right", "With every column: see those further right", show=False),
    _key("offers.mark", "space", "mark", "mark", "Mark the row, or unmark it", show=False),
    _key("offers.unmark", "u", "unmark", "unmark all", "Clear every mark", show=False),
    _key("offers.compare", "c", "compare", "compare", "Show only the marked rows, or all of them again", show=False),
    _key("offers.save", "b", "save_filter", "save filter", "Save this filter", show=False),
    _key("offers.saved", "B", "saved_filters", "saved", "Choose one of the saved filters", display="B"),
)

MATRIX_TABLE = _group(
    "In the list",
    _key("matrix.offers", "enter", "choose", "offers", "Show the offers behind the cell", display="enter"),
    _key("matrix.left", "left,h", "move_column(-1)", "left", "One provider to the left", show=False),
    _key("matrix.right", "right,l", "move_column(1)", "right", "One provider to the right", show=False),
)

DEPLOY = _group(
    "This page",
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
        "deploy.step",
        "pagedown",
        "step(1)",
        "next step",
        "Next step of the form; after the last one, the review",
        display="pgdn",
        priority=True,
    ),
    _key(
        "deploy.step-back", "pageup", "step(-1)", "step before", "The step before this one", show=False, priority=True
    ),
    _key("deploy.review", "ctrl+r", "review", "review", "See what it costs before anything is created", display="^r"),
    _key("deploy.leave", "escape", "app.escape", "back", "Leave the form; what was typed stays in it"),
    _key(
        "deploy.templates",
        "ctrl+t",
        "templates",
        "templates",
        "Fill the form from a template, or delete one",
        display="^t",
    ),
    _key("deploy.save", "ctrl+s", "save_template", "save", "Keep what the form says as a template", display="^s"),
    _key("deploy.down", "down", "line(1)", "next field", "Go to the next field, or line", show=False, priority=True),
    _key("deploy.up", "up", "line(-1)", "field before", "Go to the field, or line, before", show=False, priority=True),
    _key("deploy.clear", "ctrl+l", "clear", "clear form", "Empty every field of the form", show=False),
)

REVIEW = _group(
    "This page",
    _key("review.deploy", "ctrl+j", "deploy", "deploy", "Submit the job: this is what spends", display="^j"),
    _key("review.up", "up,k", "scroll(-1)", "up", "See what is further up", show=False),
    _key("review.down", "down,j", "scroll(1)", "down", "See what is further down", show=False),
    _key("review.other", "left,right", "app.focus_next", "other button", "Move between the buttons", show=False),
    _key("review.back", "pageup", "app.escape", "back to the form", "Change something first", display="esc"),
)

JOBS = _group(
    "This page",
    _key("jobs.log", "l", "focus_log", "log", "Move to the log of the job under the cursor"),
    _key("jobs.stop", "x", "stop", "stop", "Stop the job and end its machine, after a question"),
    _key("jobs.again", "R", "again", "run again", "Fill the deploy form with this job's settings", display="R"),
    _key("jobs.events", "e", "toggle_events", "events", "Change between the log and the timeline of events"),
    _key("jobs.zoom", "z", "zoom", "zoom", "Give the log the whole screen, or give it back"),
    _key("jobs.ssh", "s", "ssh", "log in", "Log in to the job's machine over SSH"),
    _key("jobs.copy-ssh", "S", "copy_ssh", "copy ssh command", "Copy the ssh command that logs in", show=False),
    _key("jobs.new", "n", "new", "new job", "Describe a new job", show=False),
)  # fmt: skip

# On every page that shows what is at the providers now.
ASKING = _group(
    "This page",
    _key("ask.refresh", "r", "ask", "refresh", "Ask the providers again now"),
)

# On the pages that stand beside each other: jobs, machines, waitlist.
TABS = _group(
    "This page",
    _key("tabs.next", "right_square_bracket", "tab(1)", "next tab", "Go from jobs to machines to the waitlist", display="]"),
    _key("tabs.previous", "left_square_bracket", "tab(-1)", "tab before", "Go the other way", show=False),
)  # fmt: skip

MACHINES = _group(
    "This page",
    _key("machines.job", "enter,l", "open_job", "its job", "Show the job that has the machine", display="enter"),
    _key("machines.terminate", "ctrl+d,delete", "terminate", "end it", "End the machine, after a question", display="^d"),
    _key("machines.adopt", "a", "adopt", "adopt", "Take a lost machine back as a job, after a question"),
    _key("machines.sweep", "w", "sweep", "sweep", "Look through every account for what no job accounts for"),
    _key("machines.new", "n", "new", "new job", "Describe a new job", show=False),
)  # fmt: skip

WAITLIST = _group(
    "This page",
    _key("waitlist.join", "n", "join", "wait for", "Wait for a machine type that is sold out"),
    _key("waitlist.leave", "ctrl+d,delete", "leave", "leave", "Stop waiting for what is under the cursor", display="^d"),
)  # fmt: skip

VOLUMES = _group(
    "This page",
    _key("volumes.new", "n", "new", "new", "Describe a new volume and see what it would cost"),
    _key("volumes.delete", "ctrl+d,delete", "delete", "delete", "Delete the volume, after its name was typed", display="^d"),
)  # fmt: skip

SSH_KEYS = _group(
    "This page",
    _key("keys.toggle", "space", "add_or_remove", "add or remove", "Add the key to the provider under the cursor, or remove it",
         display="space"),
    _key("keys.new", "n", "new_key", "make a key", "Make a key pair on this machine: ssh-keygen asks for a passphrase"),
)  # fmt: skip

KEY_MATRIX = _group(
    "In the list",
    _key("keys.left", "left,h", "move_column(-1)", "left", "One provider to the left", show=False),
    _key("keys.right", "right,l", "move_column(1)", "right", "One provider to the right", show=False),
)  # fmt: skip

PROVIDERS = _group(
    "This page",
    _key("providers.connect", "c", "connect", "connect", "Keep a key of the provider under the cursor"),
    _key("providers.test", "t", "test", "test", "Ask the provider everything that changes nothing, to see what works"),
    _key("providers.remove", "ctrl+d,delete", "remove", "remove key", "Remove the key from this machine, after a question",
         display="^d"),
    _key("providers.down", "space", "scroll(5)", "further down", "See what is further down of the provider", show=False),
    _key("providers.up", "b", "scroll(-5)", "further up", "See what is further up of the provider", show=False),
)  # fmt: skip

BILLING = _group(
    "This page",
    _key("billing.job", "enter,l", "open_job", "the job", "Show the job under the cursor", display="enter"),
    _key("billing.before", "left_square_bracket", "month_before", "month before", "Show the month before this one",
         display="["),
    _key("billing.after", "right_square_bracket", "month_after", "month after", "Show the month after this one", display="]"),
)  # fmt: skip

CONNECT = _group(
    "This form",
    _key("connect.keep", "pagedown", "keep", "keep it", "Keep the key where the form says", display="pgdn", priority=True),
    _key("connect.next-field", "tab", "app.focus_next", "next field", "Next field of the form", priority=True),
    _key("connect.previous-field", "shift+tab", "app.focus_previous", "field before", "Field before this one",
         show=False, priority=True),
    _key("connect.close", "escape", "close", "leave", "Leave everything as it is", display="esc"),
)  # fmt: skip

NEW_VOLUME = _group(
    "This form",
    _key("newvolume.make", "pagedown", "make", "make it", "Make the volume, after a question", display="pgdn", priority=True),
    _key("newvolume.next-field", "tab", "app.focus_next", "next field", "Next field of the form", priority=True),
    _key("newvolume.previous-field", "shift+tab", "app.focus_previous", "field before", "Field before this one",
         show=False, priority=True),
    _key("newvolume.close", "escape", "close", "leave", "Leave everything as it is", display="esc"),
)  # fmt: skip

PICK = _group(
    "This list",
    _key("pick.remove", "ctrl+d,delete", "remove", "remove", "Remove what is under the cursor", display="^d"),
    _key("pick.close", "escape,q", "close", "close", "Leave everything as it was", display="esc"),
)

LOG = _group(
    "In the log",
    _key("log.follow", "f", "follow", "follow", "Stay at the end as lines come in, or stop doing so"),
    _key("log.find", "slash", "find", "find", "Look for a word in the whole log", display="/"),
    _key("log.next", "n", "match(1)", "next", "Show the next line with the word"),
    _key("log.previous", "N", "match(-1)", "before", "Show the line with the word before this one", display="N"),
    _key("log.leave", "escape", "app.escape", "back", "Leave the marking, the search, then the log"),
    _key("log.wrap", "w", "wrap", "wrap", "Wrap long lines, or cut them at the edge"),
    _key("log.times", "t", "times", "times", "Show when each line was written, in UTC, or hide it"),
    _key("log.mark", "m,v", "mark", "mark", "Begin to mark lines, or end it", display="m"),
    _key("log.copy", "y", "copy", "copy", "Copy what is marked, else the line found or the last one on the screen"),
    _key("log.save", "ctrl+s", "save", "save", "Save the whole log to a file", display="^s"),
    _key("log.end", "G,end", "end", "end", "Go to the last line and follow", display="G", show=False),
    _key("log.start", "g,home", "start", "start", "Go to the first line", show=False),
    _key("log.up", "up,k", "lines(-1)", "up", "One line up", show=False),
    _key("log.down", "down,j", "lines(1)", "down", "One line down", show=False),
    _key("log.left", "left,h", "columns(-8)", "left", "See what is further left", show=False),
    _key("log.right", "right", "columns(8)", "right", "See what is further right", show=False),
    _key("log.page-up", "pageup", "pages(-1)", "page up", "One page up", show=False),
    _key("log.page-down", "pagedown,space", "pages(1)", "page down", "One page down", show=False),
)

CONFIRM = _group(
    "This question",
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
)

HELP = _group(
    "This page",
    _key("help.close", "escape,q,question_mark,f1,enter", "dismiss", "close", "Close this page", display="esc"),
)

FORM = _group(
    "In a choice",
    _key("form.previous", "left,h", "turn(-1)", "previous choice", "Choose the word before", show=False),
    _key("form.next", "right,l", "turn(1)", "next choice", "Choose the next word", show=False),
    _key("form.pick", "space", "pick", "list", "Choose from the list of what there is", display="space"),
    _key("form.leave", "down,j", "app.focus_next", "next field", "Go to the next field", show=False),
    _key("form.back", "up,k", "app.focus_previous", "previous field", "Go to the field before", show=False),
)

SAVE = _group(
    "This question",
    _key("save.keep", "enter", "save", "save", "Keep the template under this name", priority=True),
    _key("save.close", "escape", "close", "leave", "Leave everything as it is", display="esc"),
)

FIELD = _group(
    "In a field",
    _key("field.down", "down", "app.focus_next", "next field", "Go to the next field", show=False),
    _key("field.up", "up", "app.focus_previous", "field before", "Go to the field before", show=False),
)

# The tables whose keys work at the same time, for each place in the interface.
PLACES: Mapping[str, tuple[list[BindingType], ...]] = {
    "the matrix": (MARKET, MATRIX, MATRIX_TABLE, LIST, GLOBAL),
    "the offers": (MARKET, OFFERS, LIST, GLOBAL),
    "the form": (DEPLOY, FORM, GLOBAL),
    "the review": (REVIEW, GLOBAL),
    "the name of a template": (SAVE, FORM),
    "the jobs": (JOBS, TABS, LIST, GLOBAL),
    "the log": (JOBS, TABS, LOG, GLOBAL),
    "the volumes": (VOLUMES, ASKING, LIST, GLOBAL),
    "the SSH keys": (SSH_KEYS, ASKING, KEY_MATRIX, LIST, GLOBAL),
    "the providers": (PROVIDERS, ASKING, LIST, GLOBAL),
    "billing": (BILLING, ASKING, LIST, GLOBAL),
    "the form of a key": (CONNECT, FORM),
    "the form of a volume": (NEW_VOLUME, FORM),
    "the waitlist": (WAITLIST, ASKING, TABS, LIST, GLOBAL),
    "the machines": (MACHINES, ASKING, TABS, LIST, GLOBAL),
    "a list to choose from": (PICK, LIST),
    "a question": (CONFIRM,),
    "the help": (HELP,),
}
TABLES = tuple({id(table): table for tables in PLACES.values() for table in tables}.values())
# What only moves about: of no use in the palette.
MOVES = frozenset(binding.id for table in (LIST, MATRIX_TABLE, KEY_MATRIX, LOG, FORM, FIELD) for binding in table
                  if isinstance(binding, Binding) and not binding.show)  # fmt: skip
# What spends money or destroys is never on a bare letter, whatever the user's own keymap says.
GUARDED = frozenset({"review.deploy", "machines.terminate", "newvolume.make", "volumes.delete", "providers.remove"})


def keys_by_place() -> dict[str, dict[str, str]]:
    """Return place -> binding id -> its keys, which is what a user's own keymap is checked against."""
    return {place: dict(_ids(*tables)) for place, tables in PLACES.items()}


def _ids(*tables: list[BindingType]) -> Iterator[tuple[str, str]]:
    for table in tables:
        for binding in table:
            if isinstance(binding, Binding):
                yield str(binding.id), binding.key
