"""The pages of the interface, in one table: the number key, the name, what it is for and the screen that shows it.

To add a page: write its screen (a `BaseScreen`), give its keys a table in `bindings`, and add a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.screen import Screen


@dataclass(frozen=True, slots=True)
class Page:
    """`name` is the Textual mode and part of the binding's id (`go.<name>`); `screen` is imported when first shown."""

    name: str
    key: str
    title: str
    tooltip: str
    screen: str


PAGES: tuple[Page, ...] = (
    Page("matrix", "1", "Matrix", "Prices of every GPU at every provider", "matrix:MatrixScreen"),
    Page("offers", "2", "Offers", "Everything that can be rented now, one by one", "offers:OffersScreen"),
    Page("deploy", "3", "Deploy", "Describe a job and see where it would run", "deploy:DeployScreen"),
    Page("jobs", "4", "Jobs", "Jobs, what they cost and their logs", "jobs:JobsScreen"),
    Page("volumes", "5", "Volumes", "Storage that outlives machines, and what it costs", "volumes:VolumesScreen"),
    Page("keys", "6", "SSH keys", "Which public keys are registered at which provider", "ssh_keys:SshKeysScreen"),
    Page(
        "billing", "7", "Billing", "What was spent, by day and by job, and what credit is left", "billing:BillingScreen"
    ),
    Page("providers", "8", "Providers", "Accounts: keys, what works, how each bills", "providers:ProvidersScreen"),
    Page("machines", "9", "Machines", "Everything that is alive in every account", "machines:MachinesScreen"),
    Page("waitlist", "0", "Waitlist", "Sold-out machine types that are waited for", "waitlist:WaitlistScreen"),
)
TITLES = {page.name: page.title for page in PAGES}


def screens() -> dict[str, str | Callable[[], Screen[Any]]]:
    """Return what makes each page's screen, by name."""
    return {page.name: partial(_make, page) for page in PAGES}


def _make(page: Page) -> Screen[Any]:
    module, _, name = page.screen.partition(":")
    made: Screen[Any] = getattr(importlib.import_module(f"gputui.tui.screens.{module}"), name)()
    return made
