"""What the interface remembers between two runs: saved filters and the theme that was picked. A small JSON file.

It holds nothing that cannot be lost: an unreadable file counts as an empty one.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gputui.model.errors import StoreReadOnly

MOST_FILTERS = 100


@dataclass(frozen=True, slots=True)
class UiState:
    """`filters` are saved filters, the newest first. `theme` was picked while the configuration said `theme_instead_of`."""

    filters: tuple[str, ...] = ()
    theme: str | None = None
    theme_instead_of: str | None = None

    def with_filter(self, text: str) -> UiState:
        """Return the state with a filter saved, in front."""
        others = (known for known in self.filters if known != text)
        return replace(self, filters=(text, *others)[:MOST_FILTERS])

    def without_filter(self, text: str) -> UiState:
        return replace(self, filters=tuple(known for known in self.filters if known != text))

    def theme_for(self, configured: str) -> str:
        """Return the theme that was picked, unless the configuration has been changed since."""
        return self.theme if self.theme and self.theme_instead_of == configured else configured


def load_ui_state(path: Path) -> UiState:
    """Return what was remembered."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return UiState()
    if not isinstance(document, dict):
        return UiState()
    filters = document.get("filters")
    words = {name: document.get(name) for name in ("theme", "theme_instead_of")}
    return UiState(
        tuple(text for text in filters if isinstance(text, str)) if isinstance(filters, list) else (),
        **{name: word for name, word in words.items() if isinstance(word, str)},
    )


def save_ui_state(path: Path, state: UiState) -> None:
    """Replace the file at once, readable by its owner alone. Raises StoreReadOnly."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(state), file, ensure_ascii=False, indent=1)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise StoreReadOnly(f"{path} cannot be written: {(error.strerror or 'unknown reason').lower()}.") from error
