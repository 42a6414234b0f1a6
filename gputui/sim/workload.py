"""What a simulated job prints and how it ends: a pure function of image, command and the job's environment.

Variables of the job's environment steer it: MOCK_DURATION_S (seconds, default 10), MOCK_EXIT_CODE (default 0),
MOCK_IGNORE_TERM ("1": only KILL ends it), MOCK_IDLE_AFTER_S (from then on the GPU has nothing to do) and MOCK_GPU ("missing":
there is no nvidia-smi, "failed": it gives no answer). The command itself is never executed, only echoed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property, lru_cache
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gputui.model.units import Ms

DEFAULT_DURATION_S = 10.0
MAX_DURATION_S = 30 * 86_400.0
MAX_STEP_LINES = 1800
MAX_COLUMNS = 110
PULL_S = 1.0
"""How long a simulated `docker pull` takes."""

WARM_UP_PERCENT = 3
"""How much the GPU is used while a workload reads its data."""

EXIT_TERM = 143
EXIT_KILL = 137

TimedLine = tuple[float, str]


class Output(tuple[TimedLine, ...]):
    """Lines, in order, with the seconds since the start at which each is due."""

    @cached_property
    def rendered(self) -> tuple[list[float], list[int], bytes]:
        """Return the due times, the end offset after each count of lines, and the whole text."""
        encoded = [f"{text}\n".encode() for _, text in self]
        return [at_s for at_s, _ in self], [0, *accumulate(map(len, encoded))], b"".join(encoded)


class Workload(NamedTuple):
    """A simulated job. Equal workloads print equal lines at equal times."""

    image: str
    command: str
    duration_s: float = DEFAULT_DURATION_S
    exit_code: int = 0
    ignores_term: bool = False
    seed: int = 0
    idle_after_s: float = math.inf

    @property
    def warm_up_s(self) -> float:
        """Return how long it takes until the GPU has something to do."""
        return min(0.15 * self.duration_s, 45.0)


class WorkloadRun(NamedTuple):
    """A workload with the moments that fix its whole story: its start and, where somebody stopped it, the TERM.

    `grace_s` is how long after the TERM the KILL follows.
    """

    workload: Workload
    started_ms: Ms
    term_ms: Ms | None = None
    grace_s: float = 10.0

    def end(self) -> tuple[Ms, int]:
        """Return when it ends and with which exit code."""
        natural_ms = self.started_ms + round(self.workload.duration_s * 1000)
        if self.term_ms is None or natural_ms <= self.term_ms:
            return natural_ms, self.workload.exit_code
        if not self.workload.ignores_term:
            return self.term_ms, EXIT_TERM
        kill_ms = self.term_ms + round(self.grace_s * 1000)
        return (natural_ms, self.workload.exit_code) if natural_ms <= kill_ms else (kill_ms, EXIT_KILL)

    def idle_since_ms(self, now_ms: Ms, percent: int) -> Ms | None:
        """Return since when the GPU has been used less than `percent`, None when it is used."""
        elapsed_s = (now_ms - self.started_ms) / 1000
        work = self.workload
        if elapsed_s >= max(work.idle_after_s, work.warm_up_s) and not self._idles_from_the_start(percent):
            return self.started_ms + round(max(work.idle_after_s, work.warm_up_s) * 1000)
        is_idle = elapsed_s < work.warm_up_s or elapsed_s >= work.idle_after_s
        return self.started_ms if is_idle and percent > WARM_UP_PERCENT else None

    def idle_stop_ms(self, percent: int, window_s: int) -> Ms:
        """Return when the GPU has first been idle for so long, if nothing ends the workload before."""
        work = self.workload
        if percent > WARM_UP_PERCENT and (window_s <= work.warm_up_s or self._idles_from_the_start(percent)):
            return self.started_ms + window_s * 1000
        if math.isinf(work.idle_after_s):
            return 1 << 62
        return self.started_ms + round((max(work.idle_after_s, work.warm_up_s) + window_s) * 1000)

    def _idles_from_the_start(self, percent: int) -> bool:
        return percent > WARM_UP_PERCENT and self.workload.idle_after_s <= self.workload.warm_up_s

    def output(self, now_ms: Ms) -> bytes:
        """Return everything printed until `now_ms`."""
        return printed(lines(self.workload), (min(now_ms, self.end()[0]) - self.started_ms) / 1000)


def workload_from(image: str, command: str, env: Mapping[str, str]) -> Workload:
    """Return the workload that a job's image, command and environment stand for. A knob that cannot be read counts as unset."""
    return Workload(
        image=image,
        command=command,
        duration_s=min(max(_number(env.get("MOCK_DURATION_S"), DEFAULT_DURATION_S), 0.0), MAX_DURATION_S),
        exit_code=int(_number(env.get("MOCK_EXIT_CODE"), 0)) % 256,
        ignores_term=env.get("MOCK_IGNORE_TERM") == "1",
        seed=_seed(image, command),
        idle_after_s=_number(env.get("MOCK_IDLE_AFTER_S"), math.inf),
    )


def pull_error(image: str) -> str | None:
    """Return the registry's refusal for an image that the simulated registry does not have, None for all others.

    Missing are the tag `missing` and every name with `does-not-exist` in it.
    """
    if image.endswith(":missing") or "does-not-exist" in image:
        return f"Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown"
    return None


def printed(output: Output, elapsed_s: float) -> bytes:
    """Return the bytes of all lines due within `elapsed_s` seconds."""
    times, offsets, text = output.rendered
    return text[: offsets[bisect_right(times, elapsed_s)]]


@lru_cache(maxsize=64)
def pull_lines(image: str) -> Output:
    """Return what a simulated `docker pull` prints, with the seconds at which each line is due."""
    random = Random(_seed(image, "pull"))
    name, _, tag = image.partition(":")
    layers = [f"{random.getrandbits(48):012x}" for _ in range(5)]
    texts = [f"{tag or 'latest'}: Pulling from {name}"]
    texts += [f"{layer}: Pulling fs layer" for layer in layers]
    texts += [f"{layer}: {verb} complete" for layer in layers for verb in ("Download", "Pull")]
    texts += [f"Digest: sha256:{random.getrandbits(256):064x}", f"Status: Downloaded newer image for {image}"]
    return Output((PULL_S * position / len(texts), text[:MAX_COLUMNS]) for position, text in enumerate(texts))


@lru_cache(maxsize=64)
def lines(workload: Workload) -> Output:
    """Return what the workload prints, in order, with the seconds since its start at which each line is due.

    At most about 2,000 lines of at most 110 columns, all within the workload's duration.
    """
    random = Random(workload.seed)
    duration_s = workload.duration_s
    warm_up_s = workload.warm_up_s
    train_end_s = duration_s - min(0.08 * duration_s, 20.0)
    opening = _opening(workload, random)
    timed = [(warm_up_s * position / len(opening), text) for position, text in enumerate(opening)]
    timed += _training(random, warm_up_s, train_end_s)
    closing = _failure(workload, random) if workload.exit_code else _summary(random, duration_s)
    span_s = duration_s - train_end_s
    timed += [(train_end_s + span_s * position / (len(closing) + 1), text) for position, text in enumerate(closing, 1)]
    return Output((at_s, text[:MAX_COLUMNS]) for at_s, text in timed)


def gpu_figures(run: WorkloadRun | None, now_ms: Ms) -> tuple[int, int, int, float]:
    """Return utilisation in percent, memory used and total in MiB and watts of the simulated GPU."""
    total_mib = 81_559
    if run is None or not run.started_ms <= now_ms < run.end()[0]:
        return 0, 4, total_mib, 71.2
    elapsed_s = (now_ms - run.started_ms) / 1000
    if elapsed_s < run.workload.warm_up_s:
        return WARM_UP_PERCENT, 2_817, total_mib, 118.4
    if elapsed_s >= run.workload.idle_after_s:
        return 0, 61_000, total_mib, 96.5
    wave = math.sin(elapsed_s / 17 + run.workload.seed % 7)
    used_mib = 61_000 + run.workload.seed % 9_000
    return round(93 + 5 * wave), used_mib, total_mib, round(612 + 55 * wave, 1)


def _opening(workload: Workload, random: Random) -> list[str]:
    parameters = random.choice((1.3, 2.7, 6.7, 8.0, 13.0))
    samples = random.randint(180_000, 4_200_000)
    return [
        f"== simulated machine: nothing here is executed ({workload.image or 'no image'})",
        f"$ {_one_line(workload.command) or '(the default command of the image)'}",
        "NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0",
        "GPU 0: NVIDIA H100 80GB HBM3 (81559 MiB)",
        f"torch 2.9.1+cu130 · cudnn 9.13 · python 3.12.11 · pid {random.randint(2, 90)}",
        f"config: bf16, grad_accum=4, lr=3e-4 cosine, warmup=100, seed={random.randint(1, 9999)}",
        f"data: {samples:,} samples in {random.randint(12, 96)} shards, tokenizer vocab 128,256",
        f"data: first shard read in {random.uniform(0.4, 2.6):.2f} s, {random.randint(8, 16)} workers",
        f"model: {parameters} B parameters, {random.randint(24, 40)} layers, flash attention on",
        "compile: graph captured, 0 breaks",
    ]


def _training(random: Random, start_s: float, end_s: float) -> list[TimedLine]:
    span_s = max(end_s - start_s, 0.0)
    count = max(6, min(MAX_STEP_LINES, int(span_s * 2)))
    stride = random.choice((5, 10, 20))
    first_loss, last_loss = random.uniform(9.8, 11.2), random.uniform(1.9, 2.8)
    speed = random.uniform(9_000, 46_000)
    timed: list[TimedLine] = []
    for position in range(count):
        progress = (position + 1) / count
        at_s = start_s + span_s * progress
        step = (position + 1) * stride
        loss = last_loss + (first_loss - last_loss) * math.exp(-5 * progress) + random.uniform(-0.04, 0.04)
        rate = 3e-4 * min(1.0, progress * 12) * 0.5 * (1 + math.cos(math.pi * progress))
        tokens_per_s = speed * random.uniform(0.96, 1.03)
        norm = 0.4 + 2.2 * math.exp(-6 * progress) * random.uniform(0.7, 1.3)
        timed.append(
            (at_s, f"step {step:>6} | loss {loss:7.4f} | lr {rate:.2e} | grad {norm:5.2f} | {tokens_per_s:8,.0f} tok/s")
        )
        if (position + 1) % 25 == 0:
            perplexity = math.exp(min(loss + 0.08, 12))
            timed.append((at_s, f"eval {step:>6} | loss {loss + 0.08:7.4f} | perplexity {perplexity:,.2f}"))
        if (position + 1) % 75 == 0:
            timed.append((at_s, f"checkpoint: wrote ckpt/step-{step:06d}.safetensors ({random.uniform(2, 26):.1f} GB)"))
    return timed


def _summary(random: Random, duration_s: float) -> list[str]:
    return [
        "checkpoint: wrote ckpt/final.safetensors",
        f"eval final  | perplexity {random.uniform(7.5, 14.0):.2f} | accuracy {random.uniform(0.58, 0.79):.3f}",
        f"done in {duration_s:.1f} s, peak memory {random.uniform(58, 74):.1f} GiB",
    ]


def _failure(workload: Workload, random: Random) -> list[str]:
    frame = f'  File "/workspace/train.py", line {random.randint(80, 420)}, in train'
    error = random.choice(
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 79.19 GiB in all.",
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/shard-00041.parquet'",
            "RuntimeError: NCCL error: unhandled system error, remote process exited or there was a network error",
            "ValueError: loss is nan at this step; stopping to keep the last checkpoint",
        )
    )
    return [
        "Traceback (most recent call last):",
        '  File "/workspace/train.py", line 611, in <module>',
        "    train(config)",
        frame,
        "    loss.backward()",
        error,
        f"(simulated) exit code {workload.exit_code}",
    ]


def _one_line(command: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in command).split())


def _number(text: str | None, default: float) -> float:
    try:
        number = float(text) if text else default
    except ValueError:
        return default
    return number if math.isfinite(number) else default


def _seed(*parts: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:6], "big")
