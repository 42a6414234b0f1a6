"""What the harness reads out of nvidia-smi, and when it takes a GPU for idle. The output is composed, no GPU is asked."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gputui.core.runner.protocol import gpu_or_none, harness_section

SHARED = harness_section("shared with containers that take no orders")
SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]


def ask(tmp_path: Path, script: str, *, smi: str | None, shell: str = "sh") -> list[str]:
    """Run a script after the shared section, with an nvidia-smi that runs `smi`; return the words it prints."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    if smi is not None:
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (tools / "nvidia-smi").chmod(0o755)
    done = subprocess.run(
        [shell, "-uc", SHARED + script],
        env={"PATH": f"{tools}:/usr/bin:/bin", "LANG": "de_DE.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def rows(*lines: str) -> str:
    return "cat <<'ROWS'\n" + "\n".join(lines) + "\nROWS"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("smi", "gpu", "use", "mute"),
    [
        (rows("97, 61234, 81559, 612.50"), "97,61234,81559,612.50", "97", "0"),
        (
            rows("0, 4, 81559, 71.20", "98, 70000, 81559, 650.00", "3, 10, 81559, 70.00"),
            "98,70000,81559,650.00",
            "98",
            "0",
        ),
        (rows("41, 100, 200, 50", "41, 150, 200, 60"), "41,100,200,50", "41", "0"),
        (rows("[N/A], 1024, 40960, [N/A]"), "-,1024,40960,-", "unknown", "1"),  # MIG hides the use of the whole GPU
        (rows("[Not Supported], 300, 8192, [Not Supported]"), "-,300,8192,-", "unknown", "1"),
        (rows("7, 300, 8192, ERR!"), "7,300,8192,-", "7", "0"),
        (rows("ERR!, ERR!, ERR!, ERR!"), "-,-,-,-", "unknown", "1"),
        (rows("2, 5, 81559, 70.1", "[Unknown Error], [GPU is lost], 81559, 1.1"), "2,5,81559,70.1", "2", "1"),
        (rows("12, 5, 81559, 70,5"), "12,5,81559,70", "12", "0"),  # a decimal comma
        (rows("12, 5, 81559, 70.5\r"), "12,5,81559,70.5", "12", "0"),
        (rows("Warning: infoROM is corrupted", "5, 1, 2, 3"), "5,1,2,3", "5", "0"),
        (rows("No devices were found"), "-", "failed", "0"),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "-", "failed", "0"),
        ("exit 9", "-", "failed", "0"),
        ("true", "-", "failed", "0"),
        (None, "-", "missing", "0"),
    ],
)
def test_figures_of_the_busiest_gpu(tmp_path: Path, shell: str, smi: str | None, gpu: str, use: str, mute: str) -> None:
    script = 'measure_gpus; echo "$gpu" "$gpu_use" "$gpu_mute"'
    assert ask(tmp_path, script, smi=smi, shell=shell) == [gpu, use, mute]


def test_it_is_asked_in_a_language_it_is_read_in(tmp_path: Path) -> None:
    assert ask(tmp_path, 'measure_gpus; echo "$gpu"', smi='echo "1, 2, 3, $LC_ALL"; echo "2, 3, 4, 5"') == ["2,3,4,5"]
    assert ask(tmp_path, 'measure_gpus; echo "$gpu"', smi='[ "$LC_ALL" = C ] && echo "1, 2, 3, 4"') == ["1,2,3,4"]


def test_rows_without_a_figure_are_no_sample() -> None:
    assert gpu_or_none("-,-,-,-") is None
    assert gpu_or_none("nan,1,2,inf") is not None
    assert gpu_or_none("-") is None


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("before", "measured", "since", "idle"),
    [
        # (idle since, seconds since the last sample), (use, GPUs that do not tell) -> since, idle
        (("-", 10), ("0", 0), "now", "0"),
        (("-100", 10), ("4", 0), "-100", "100"),
        (("-100", 10), ("5", 0), "-", "0"),
        (("-100", 10), ("99", 0), "-", "0"),
        (("-100", 61), ("0", 0), "now", "0"),  # nobody looked for a while
        (("-100", 10), ("0", 1), "-", "unknown"),
        (("-100", 10), ("60", 1), "-", "0"),  # one GPU works, whatever the other does
        (("-100", 10), ("unknown", 2), "-", "unknown"),
        (("-100", 10), ("failed", 0), "-", "failed"),
        (("-100", 10), ("missing", 0), "-", "missing"),
    ],
)
def test_idle_only_while_every_gpu_is_known_to_be(
    tmp_path: Path, shell: str, before: tuple[str, int], measured: tuple[str, int], since: str, idle: str
) -> None:
    idle_since = before[0] if before[0] == "-" else f"$((begin{before[0]}))"
    script = f"""
read_uptime; begin=$uptime
idle_percent=5 idle_since={idle_since} sampled=$((begin - {before[1]})) gpu_use={measured[0]} gpu_mute={measured[1]}
follow_idle
[ "$idle_since" = - ] || idle_since=$((idle_since - begin))
echo "$idle_since" "$idle" "$((sampled - begin))"
"""
    found_since, found_idle, sampled = ask(tmp_path, script, smi=None, shell=shell)
    assert int(sampled) <= 1  # a second may have passed
    if since == "now":
        assert found_since in ("0", "1")
    else:
        assert found_since == since
    assert found_idle in (idle, str(int(idle) + 1)) if idle.isdecimal() else found_idle == idle


BUSY = "echo '93, 1, 2, 3'"
IDLE = "echo '0, 1, 2, 3'"
HALF_IDLE = "echo '0, 1, 2, 3'; echo '88, 1, 2, 3'"
WORKS_FOR_A_WHILE = "if [ -e HOME/idle ]; then echo '1, 1, 2, 3'; else echo '93, 1, 2, 3'; fi"


@pytest.fixture(scope="module")
def idle_ends(new_machine: Any) -> dict[str, Any]:
    """Run a job beside GPUs of several kinds, all at once, for ever where it is to be ended; return how each ended."""
    cases = {
        "idle": (IDLE, 300),
        "busy": (BUSY, 24),
        "half idle": (HALF_IDLE, 24),
        "unknown": ("echo '[N/A], 1, 2, 3'", 24),
        "failed": ("exit 9", 24),
        "idle in the end": (WORKS_FOR_A_WHILE, 300),
    }

    async def run(smi: str, duration_s: int) -> Any:
        machine = new_machine()
        machine.add_program("nvidia-smi", smi.replace("HOME", str(machine.home)))
        await machine.start(f"sleep 2; touch idle; sleep {duration_s}; exit 5", idle_stop_s=5)
        return await machine.ended()

    async def run_all() -> dict[str, Any]:
        return dict(zip(cases, await asyncio.gather(*(run(*case) for case in cases.values())), strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize("name", ["idle", "idle in the end"])
def test_the_harness_ends_an_idle_job_with_nobody_there(idle_ends: dict[str, Any], name: str) -> None:
    ended = idle_ends[name]
    assert ended.summary == ("exited", 143, "idle_stop")
    assert ended.reply.finished_s - ended.reply.started_s <= 60


@pytest.mark.parametrize("name", ["busy", "half idle", "unknown", "failed"])
def test_the_harness_never_ends_a_job_whose_gpus_work_or_do_not_tell(idle_ends: dict[str, Any], name: str) -> None:
    assert idle_ends[name].summary == ("exited", 5, "exited")
