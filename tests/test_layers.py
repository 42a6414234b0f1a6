"""What a fresh interpreter loads: the command line stays quick because it imports only what a command needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "textual",
    "rich",
    "httpx",
    "asyncssh",
    "sqlite3",
    "pysqlite3",
    "sqlite_utils",
    "pydantic",
    "keyring",
    "cryptography",
}
REPORT = "\nimport sys\nprint('LOADED', *{name.partition('.')[0] for name in sys.modules})"


def loaded_by(code: str, home: Path) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running some code."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment |= {"GPUTUI_HOME": str(home), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT], capture_output=True, text=True, env=environment, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


def command(*arguments: str) -> str:
    return f"from gputui.cli.main import main\nassert main({list(arguments)!r}) == 0"


def test_importing_the_package_loads_nothing_else(tmp_path: Path) -> None:
    loaded = loaded_by("import gputui\nassert gputui.__version__", tmp_path)
    assert loaded & (HEAVY | {"click", "asyncio", "dataclasses"}) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["jobs", "--help"]])
def test_help_loads_no_http_ssh_or_database_library(tmp_path: Path, arguments: list[str]) -> None:
    assert loaded_by(command(*arguments), tmp_path) & (HEAVY | {"asyncio"}) == set()


def test_a_warm_pricing_loads_the_database_driver_and_nothing_slower(tmp_path: Path) -> None:
    cold = loaded_by(command("pricing", "--json"), tmp_path)
    assert "textual" not in cold
    warm = loaded_by(command("pricing", "--gpu", "H100", "--json"), tmp_path)
    assert warm & (HEAVY | {"asyncio"}) <= {"sqlite3", "pysqlite3"}


@pytest.mark.parametrize("arguments", [["jobs", "list"], ["billing", "usage"], ["agent", "status"], ["offers"]])
def test_reading_the_store_never_loads_textual_or_http(tmp_path: Path, arguments: list[str]) -> None:
    loaded_by(command("pricing"), tmp_path)
    assert loaded_by(command(*arguments), tmp_path) & {"textual", "rich", "httpx", "asyncssh", "pydantic"} == set()


def test_the_sdk_never_loads_textual(tmp_path: Path) -> None:
    code = "from gputui import GPU, AsyncGPU\nwith GPU() as gpu:\n    assert gpu.pricing('H100')\n    assert gpu.jobs() == []"
    assert loaded_by(code, tmp_path) & {"textual", "rich"} == set()
