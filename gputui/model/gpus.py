"""One canonical name per GPU model, with VRAM; every provider's spelling maps here. An unknown spelling is kept as it came.

VRAM is per GPU in GiB as vendors print it. A request for a family ("H100") matches each of its forms ("H100-SXM",
"H100-PCIE", "H100-NVL"); a request for a form matches only that form. Memory figures: NVIDIA and AMD data sheets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A GPU model: its canonical name, the family a request may name, and memory per GPU (None when it varies)."""

    name: str
    family: str
    vram_gib: int | None


def _m(name: str, family: str, vram_gib: int | None) -> GpuModel:
    return GpuModel(name, family, vram_gib)


# Newest and largest first: the order the matrix shows them in.
MODELS: tuple[GpuModel, ...] = (
    _m("B300", "B300", 288), _m("B200", "B200", 180), _m("GB200", "GB200", 186), _m("MI325X", "MI325X", 256),
    _m("MI300X", "MI300X", 192), _m("GH200", "GH200", 96), _m("H200", "H200", 141), _m("H200-NVL", "H200", 141),
    _m("H100-SXM", "H100", 80), _m("H100-NVL", "H100", 94), _m("H100-PCIE", "H100", 80), _m("H100", "H100", 80),
    _m("A100-80GB-SXM", "A100-80GB", 80), _m("A100-80GB-PCIE", "A100-80GB", 80), _m("A100-80GB", "A100-80GB", 80),
    _m("A100-40GB-SXM", "A100-40GB", 40), _m("A100-40GB-PCIE", "A100-40GB", 40), _m("A100-40GB", "A100-40GB", 40),
    _m("RTX-PRO-6000", "RTX-PRO-6000", 96), _m("RTX-PRO-6000-WK", "RTX-PRO-6000", 96), _m("RTX-PRO-4500", "RTX-PRO-4500", 32),
    _m("L40S", "L40S", 48), _m("L40", "L40", 48), _m("L4", "L4", 24),
    _m("RTX-6000-ADA", "RTX-6000-ADA", 48), _m("RTX-5000-ADA", "RTX-5000-ADA", 32), _m("RTX-4500-ADA", "RTX-4500-ADA", 24),
    _m("RTX-4000-ADA", "RTX-4000-ADA", 20), _m("RTX-2000-ADA", "RTX-2000-ADA", 16),
    _m("RTX-A6000", "RTX-A6000", 48), _m("RTX-A5000", "RTX-A5000", 24), _m("RTX-A4500", "RTX-A4500", 20),
    _m("RTX-A4000", "RTX-A4000", 16), _m("RTX-A2000", "RTX-A2000", None), _m("A40", "A40", 48), _m("A30", "A30", 24), _m("A16", "A16", 16), _m("A10", "A10", 24),
    _m("RTX-5090", "RTX-5090", 32), _m("RTX-5080", "RTX-5080", 16), _m("RTX-5070-TI", "RTX-5070-TI", 16),
    _m("RTX-5070", "RTX-5070", 12), _m("RTX-5060-TI", "RTX-5060-TI", None), _m("RTX-5060", "RTX-5060", 8),
    _m("RTX-4090", "RTX-4090", 24), _m("RTX-4080-SUPER", "RTX-4080-SUPER", 16), _m("RTX-4080", "RTX-4080", 16),
    _m("RTX-4070-TI-SUPER", "RTX-4070-TI-SUPER", 16), _m("RTX-4070-TI", "RTX-4070-TI", 12),
    _m("RTX-4070-SUPER", "RTX-4070-SUPER", 12), _m("RTX-4070", "RTX-4070", 12),
    _m("RTX-4060-TI", "RTX-4060-TI", None), _m("RTX-4060", "RTX-4060", 8), _m("RX-7900-XTX", "RX-7900-XTX", 24),
    _m("RTX-3090-TI", "RTX-3090-TI", 24), _m("RTX-3090", "RTX-3090", 24), _m("RTX-3080-TI", "RTX-3080-TI", 12),
    _m("RTX-3080", "RTX-3080", 10), _m("RTX-3070-TI", "RTX-3070-TI", 8), _m("RTX-3070", "RTX-3070", 8),
    _m("RTX-3060-TI", "RTX-3060-TI", 8), _m("RTX-3060", "RTX-3060", 12), _m("RTX-2080-TI", "RTX-2080-TI", 11),
    _m("QUADRO-RTX-8000", "QUADRO-RTX-8000", 48), _m("QUADRO-RTX-6000", "QUADRO-RTX-6000", 24),
    _m("QUADRO-RTX-5000", "QUADRO-RTX-5000", 16), _m("QUADRO-RTX-4000", "QUADRO-RTX-4000", 8),
    _m("V100-32GB", "V100", 32), _m("V100-16GB", "V100", 16), _m("V100", "V100", None), _m("P100", "P100", 16), _m("T4", "T4", 16),
)  # fmt: skip

BY_NAME: dict[str, GpuModel] = {model.name: model for model in MODELS}
ORDER: dict[str, int] = {model.name: position for position, model in enumerate(MODELS)}

# Words a person may type that stand for several models.
_FAMILIES: dict[str, frozenset[str]] = {}
for _model in MODELS:
    _FAMILIES[_model.family] = _FAMILIES.get(_model.family, frozenset()) | {_model.name}
_FAMILIES["A100"] = _FAMILIES["A100-80GB"] | _FAMILIES["A100-40GB"]
_FAMILIES["V100"] = frozenset(name for name in BY_NAME if name.startswith("V100"))

# Spellings that the normaliser below does not reach by itself: left is folded (upper case, no vendor, single dashes).
_ALIASES: dict[str, str] = {
    "H100-80GB-HBM3": "H100-SXM", "H100-SXM5": "H100-SXM", "H100-80GB-SXM": "H100-SXM",
    "H100-80GB-SXM5": "H100-SXM", "H100-SXM5-80GB": "H100-SXM", "H100-SXM-80GB": "H100-SXM", "H100-80GB": "H100",
    "H100-80GB-PCIE": "H100-PCIE", "H100-PCIE-80GB": "H100-PCIE", "H100-NVL-94GB": "H100-NVL",
    "H200-SXM": "H200", "H200-SXM5": "H200", "H200-SXM-141GB": "H200", "H200-141GB": "H200", "B200-SXM6": "B200", "B200-SXM": "B200",
    "B200-180GB": "B200", "B300-SXM6": "B300", "B300-SXM6-AC": "B300", "GH200-480GB": "GH200", "GH200-SXM": "GH200", "MI300X-OAM": "MI300X",
    "INSTINCT-MI300X": "MI300X", "INSTINCT-MI300X-OAM": "MI300X", "INSTINCT-MI325X": "MI325X",
    "A100-SXM4-80GB": "A100-80GB-SXM", "A100-SXM-80GB": "A100-80GB-SXM", "A100-80GB-SXM4": "A100-80GB-SXM",
    "A100-SXM": "A100-80GB-SXM", "A100-80GB-PCIE": "A100-80GB-PCIE", "A100-PCIE-80GB": "A100-80GB-PCIE", "A100X": "A100-80GB-PCIE",
    "A100-SXM4-40GB": "A100-40GB-SXM", "A100-SXM4": "A100-40GB-SXM", "A100-SXM-40GB": "A100-40GB-SXM", "A100-40GB-SXM4": "A100-40GB-SXM",
    "A100-PCIE-40GB": "A100-40GB-PCIE", "A100-PCIE": "A100-80GB-PCIE", "A100-40-GB": "A100-40GB", "A100-80-GB": "A100-80GB",
    "6000-ADA": "RTX-6000-ADA", "RTX-6000-ADA-GENERATION": "RTX-6000-ADA", "RTX6000-ADA": "RTX-6000-ADA", "RTX-6000ADA": "RTX-6000-ADA",
    "RTX6000ADA": "RTX-6000-ADA", "RTX-5000-ADA-GENERATION": "RTX-5000-ADA", "RTX-4000-ADA-GENERATION": "RTX-4000-ADA",
    "RTX-4000-SFF-ADA": "RTX-4000-ADA", "RTX-4000-SFF-ADA-GENERATION": "RTX-4000-ADA", "RTX-2000-ADA-GENERATION": "RTX-2000-ADA",
    "A6000": "RTX-A6000", "A5000": "RTX-A5000", "A4500": "RTX-A4500", "A4000": "RTX-A4000",
    "RTX-PRO-6000-BLACKWELL": "RTX-PRO-6000", "RTX-PRO-4500-BLACKWELL": "RTX-PRO-4500", "RTX-PRO-6000-S": "RTX-PRO-6000", "RTX-PRO-6000-WS": "RTX-PRO-6000-WK",
    "RTX-PRO-6000-BLACKWELL-SERVER-EDITION": "RTX-PRO-6000", "RTX-PRO-6000-BLACKWELL-WORKSTATION-EDITION": "RTX-PRO-6000-WK",
    "TESLA-V100-16GB": "V100-16GB", "TESLA-V100": "V100", "TESLA-V100-SXM2-16GB": "V100-16GB", "TESLA-V100-PCIE-16GB": "V100-16GB", "V100-SXM2-16GB": "V100-16GB",
    "TESLA-V100-SXM2-32GB": "V100-32GB", "V100-SXM2-32GB": "V100-32GB", "V100-SXM2": "V100", "TESLA-T4": "T4", "TESLA-P100": "P100",
    "Q-RTX-8000": "QUADRO-RTX-8000", "Q-RTX-6000": "QUADRO-RTX-6000", "RTX-8000": "QUADRO-RTX-8000", "RTX-6000": "QUADRO-RTX-6000",
}  # fmt: skip

_VENDOR = re.compile(r"\b(?:NVIDIA|AMD|GEFORCE)\b[\s_-]*")
_SEPARATORS = re.compile(r"[\s_/()\-]+")
_CONSUMER = re.compile(r"^(?:RTX-?|GTX-?)?((?:20|30|40|50)[5-9]0)-?(TI|SUPER|S)?(?:-?(SUPER))?$")


def fold(spelling: str) -> str:
    """Return a spelling in upper case, without vendor words, with single dashes."""
    without_vendor = _VENDOR.sub("", spelling.strip().upper())
    return _SEPARATORS.sub("-", without_vendor).strip("-")


@lru_cache(maxsize=4096)
def canonical_gpu(spelling: str, vram_gib: int | None = None) -> str:
    """Return the canonical name for a provider's spelling; an unknown one comes back as it came, trimmed.

    `vram_gib` (per GPU) settles spellings that leave the memory out: "A100" with 40 is "A100-40GB".
    """
    folded = fold(spelling)
    if folded == "A100":
        return "A100-40GB" if vram_gib is not None and vram_gib <= 48 else "A100-80GB"
    if folded in {"A100-SXM4", "A100-SXM", "A100-PCIE"} and vram_gib is not None:
        return f"A100-{40 if vram_gib <= 48 else 80}GB-{'PCIE' if 'PCIE' in folded else 'SXM'}"
    if folded in {"V100", "TESLA-V100", "V100-SXM2"} and vram_gib in (16, 32):
        return f"V100-{vram_gib}GB"
    if folded in _ALIASES:
        return _ALIASES[folded]
    if folded in BY_NAME:
        return folded
    if match := _CONSUMER.match(folded):
        suffix = {"S": "-SUPER", "SUPER": "-SUPER", "TI": "-TI", None: ""}[match[2]]
        return f"RTX-{match[1]}{suffix}{'-SUPER' if match[3] else ''}"
    return spelling.strip()


def vram_of(name: str) -> int | None:
    """Return memory per GPU in GiB of a canonical name, None when unknown."""
    model = BY_NAME.get(name)
    return model.vram_gib if model else None


@lru_cache(maxsize=1024)
def gpus_for_request(text: str) -> frozenset[str]:
    """Return the canonical names that a request may be served by; empty when the words mean nothing to the table.

    A family means all its forms, so "h100" is wider than "h100-sxm".
    """
    folded = fold(text)
    if folded in _FAMILIES:
        return _FAMILIES[folded]
    name = canonical_gpu(text)
    return frozenset({name}) if name in BY_NAME else frozenset()


def gpu_matches(request: str, offered: str) -> bool:
    """True when an offered canonical name (or unknown spelling) serves the request."""
    names = gpus_for_request(request)
    return offered in names if names else fold(offered) == fold(request)


def suggest_gpus(text: str, *, limit: int = 3) -> list[str]:
    """Return the nearest known names for a spelling that matched nothing, best first."""
    from difflib import get_close_matches

    known = {**{fold(name): name for name in BY_NAME}, **{family: family for family in _FAMILIES}}
    return [known[hit] for hit in get_close_matches(fold(text), list(known), n=limit, cutoff=0.4)]
