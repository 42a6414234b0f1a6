"""What the interface remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputui.local.ui_state import MOST_FILTERS, UiState, load_ui_state, save_ui_state
from gputui.model.errors import StoreReadOnly


def test_it_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "ui.json"
    state = UiState().with_filter("gpu:h100").with_filter('region:"north europe"')
    save_ui_state(path, state)
    assert load_ui_state(path) == state
    assert state.filters == ('region:"north europe"', "gpu:h100")
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in tmp_path.iterdir()] == ["ui.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"filters": 3, "theme": 4}', "\x00"])
def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ui.json"
    path.write_text(text)
    assert load_ui_state(path) == UiState()


def test_saving_twice_moves_a_filter_to_the_front_and_the_oldest_goes() -> None:
    state = UiState()
    for number in range(MOST_FILTERS + 5):
        state = state.with_filter(f"n:{number}")
    state = state.with_filter("n:50")
    assert state.filters[0] == "n:50"
    assert len(state.filters) == len(set(state.filters)) == MOST_FILTERS
    assert "n:0" not in state.filters
    assert "n:50" not in state.without_filter("n:50").filters


def test_a_picked_theme_holds_until_the_configuration_says_another() -> None:
    state = UiState(theme="terminal", theme_instead_of="gputui-dark")
    assert state.theme_for("gputui-dark") == "terminal"
    assert state.theme_for("gputui-light") == "gputui-light"
    assert UiState().theme_for("gputui-dark") == "gputui-dark"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly):
        save_ui_state(tmp_path / "absent" / "ui.json", UiState())
