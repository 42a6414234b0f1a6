from __future__ import annotations

import pytest

from gputui.model.gpus import BY_NAME, MODELS, canonical_gpu, gpu_matches, gpus_for_request, suggest_gpus, vram_of


@pytest.mark.parametrize(
    ("spelling", "vram", "name"),
    [
        ("NVIDIA H100 80GB HBM3", None, "H100-SXM"),
        ("H100 SXM", None, "H100-SXM"),
        ("H100 PCIe", 80, "H100-PCIE"),
        ("H100_SXM", None, "H100-SXM"),
        ("H100 NVL", 94, "H100-NVL"),
        ("H100", 80, "H100"),
        ("NVIDIA A100-SXM4-80GB", None, "A100-80GB-SXM"),
        ("A100 PCIE", 40, "A100-40GB-PCIE"),
        ("A100", 40, "A100-40GB"),
        ("A100", None, "A100-80GB"),
        ("NVIDIA GeForce RTX 4090", 24, "RTX-4090"),
        ("RTX 4090", None, "RTX-4090"),
        ("4090", None, "RTX-4090"),
        ("RTX 4070S Ti", None, "RTX 4070S Ti"),
        ("RTX 4080 SUPER", None, "RTX-4080-SUPER"),
        ("NVIDIA RTX 6000 Ada Generation", 48, "RTX-6000-ADA"),
        ("A6000", 48, "RTX-A6000"),
        ("Tesla V100", 16, "V100-16GB"),
        ("AMD Instinct MI300X OAM", 192, "MI300X"),
        ("Quantum Leap 9000", 1, "Quantum Leap 9000"),
    ],
)
def test_every_spelling_has_one_name(spelling: str, vram: int | None, name: str) -> None:
    assert canonical_gpu(spelling, vram) == name


def test_canonical_names_map_to_themselves() -> None:
    for model in MODELS:
        assert canonical_gpu(model.name, model.vram_gib) == model.name


def test_a_family_is_wider_than_a_form() -> None:
    assert gpus_for_request("h100") >= {"H100-SXM", "H100-PCIE", "H100-NVL", "H100"}
    assert gpus_for_request("H100-SXM") == {"H100-SXM"}
    assert gpus_for_request("a100") >= {"A100-80GB-SXM", "A100-40GB-PCIE"}
    assert gpu_matches("H100", "H100-NVL")
    assert not gpu_matches("H100-SXM", "H100-PCIE")
    assert gpus_for_request("warp drive") == frozenset()


def test_an_unknown_spelling_matches_itself_only() -> None:
    assert gpu_matches("quantum-leap 9000", "Quantum Leap 9000")
    assert not gpu_matches("Quantum Leap", "Quantum Leap 9000")


def test_a_near_miss_is_suggested() -> None:
    assert "H100" in suggest_gpus("H1000") or "H100-SXM" in suggest_gpus("H1000")


def test_memory_is_known_for_most_models() -> None:
    assert vram_of("H200") == 141
    assert vram_of("nonsense") is None
    assert all(model.vram_gib is None or 4 <= model.vram_gib <= 300 for model in BY_NAME.values())
