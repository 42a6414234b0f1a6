"""How large a machine to order. TensorDock sells parts: the buyer chooses threads, memory and disk, and pays for each. Pure.

One machine per GPU model and count stands for what people usually want; its price is then one number that can be compared.
Sources: TensorDock docs, instance-creation (least disk) and instance-management (allowed steps), which `POST /instances` is
taken to share.
"""

from __future__ import annotations

from dataclasses import dataclass

from gputui.providers.tensordock.wire import WireResources

VCPUS_PER_GPU = 8
# As much memory as the GPU has, so that a model passes through it whole; and enough to work with beside a small GPU.
LEAST_RAM_GB_PER_GPU = 32
DISK_GB = 200
# Odd numbers of threads are refused; memory comes in these steps; disk in steps of 50 from 100.
LEAST_VCPUS, VCPU_STEP = 2, 2
RAM_STEPS_GB = (8, 10, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 512)
LEAST_DISK_GB, DISK_STEP_GB = 100, 50


@dataclass(frozen=True, slots=True)
class Shape:
    """The parts of a machine beside its GPUs."""

    vcpus: int
    ram_gb: int
    disk_gb: int


def wanted_shape(gpu_count: int, vram_gib: int | None) -> Shape:
    """Return the shape to order where nothing limits it."""
    ram_per_gpu_gb = -(-max(LEAST_RAM_GB_PER_GPU, vram_gib or 0) // 16) * 16
    return Shape(VCPUS_PER_GPU * gpu_count, _ram_step_within(gpu_count * ram_per_gpu_gb), DISK_GB)


def fitting_shape(wanted: Shape, gpu_count: int, *, max_gpus: int | None, most: WireResources) -> Shape | None:
    """Return the wanted shape, reduced to this machine's share of a place; None when the least does not fit.

    `most` counts for all `max_gpus` GPUs together, and a machine that takes more than its share is refused (a ratio limit).
    """

    def share(whole: int | None) -> int | None:
        return whole if whole is None or not max_gpus else whole * gpu_count // max_gpus

    for whole, least in (
        (most.max_vcpus, LEAST_VCPUS),
        (most.max_ram_gb, RAM_STEPS_GB[0]),
        (most.max_storage_gb, LEAST_DISK_GB),
    ):
        if whole is not None and whole < least:
            return None
    vcpus = _least_of(wanted.vcpus, share(most.max_vcpus))
    disk_gb = _least_of(wanted.disk_gb, share(most.max_storage_gb))
    return Shape(
        max(LEAST_VCPUS, vcpus // VCPU_STEP * VCPU_STEP),
        _ram_step_within(_least_of(wanted.ram_gb, share(most.max_ram_gb))),
        max(LEAST_DISK_GB, disk_gb // DISK_STEP_GB * DISK_STEP_GB),
    )


def disk_holding(asked_gib: int) -> int:
    """Return the smallest disk that can be ordered and holds what was asked for."""
    return max(LEAST_DISK_GB, -(-asked_gib // DISK_STEP_GB) * DISK_STEP_GB)


def _ram_step_within(ram_gb: int) -> int:
    return max((step for step in RAM_STEPS_GB if step <= ram_gb), default=RAM_STEPS_GB[0])


def _least_of(wanted: int, limit: int | None) -> int:
    return wanted if limit is None else min(wanted, limit)
