"""What hosts of the simulated marketplace own: GPU models with their figures, processors, disks and places.

Spellings of models, memory sizes and places are those seen on the real marketplace; how common each is and what it costs is
invented, near the prices of 2026.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU model. Prices are dollars per GPU hour on demand; `share` is how common it is; `counts` are machine sizes."""

    name: str
    ram_mb: int
    compute_cap: int
    mem_bw: float
    watts: float
    tflops: float
    dlperf: float
    usd_low: float
    usd_high: float
    share: int
    counts: tuple[int, ...]
    nvlink_bw: float = 0.0
    arch: str = "nvidia"
    is_datacenter: bool = False
    is_arm: bool = False


_HOME = (1, 1, 1, 2, 4)
_RIG = (1, 1, 2, 2, 4, 4, 8)
_NODE = (1, 1, 2, 4, 8, 8)

GPUS: tuple[Gpu, ...] = (
    Gpu("RTX 3060", 12288, 860, 323.0, 170, 12.7, 17.1, 0.04, 0.10, 60, _HOME),
    Gpu("RTX 3070", 8192, 860, 394.0, 220, 20.3, 22.8, 0.05, 0.11, 25, _HOME),
    Gpu("RTX 3080", 10240, 860, 668.0, 320, 29.8, 36.5, 0.08, 0.17, 30, _HOME),
    Gpu("RTX 3090", 24576, 860, 842.0, 350, 35.6, 48.9, 0.12, 0.30, 130, _RIG),
    Gpu("RTX 4060 Ti", 16380, 890, 261.0, 165, 22.1, 24.2, 0.07, 0.14, 30, _HOME),
    Gpu("RTX 4070S Ti", 16376, 890, 587.0, 285, 44.1, 52.0, 0.11, 0.22, 30, _HOME),
    Gpu("RTX 4080", 16376, 890, 653.0, 320, 48.7, 60.3, 0.15, 0.28, 30, _HOME),
    Gpu("RTX 4090", 24564, 890, 901.2, 450, 81.6, 98.4, 0.27, 0.60, 190, _RIG),
    Gpu("RTX 5080", 16303, 1200, 852.0, 360, 56.3, 78.0, 0.20, 0.40, 25, _HOME),
    Gpu("RTX 5090", 32607, 1200, 1448.2, 575, 107.6, 141.8, 0.35, 0.85, 150, _RIG),
    Gpu("RTX A4000", 16376, 860, 385.0, 140, 19.2, 24.0, 0.08, 0.17, 20, _RIG),
    Gpu("RTX A5000", 24564, 860, 653.0, 230, 27.8, 41.0, 0.15, 0.28, 20, _RIG),
    Gpu("RTX A6000", 49140, 860, 641.0, 300, 38.7, 48.0, 0.33, 0.60, 35, _RIG),
    Gpu("RTX 6000Ada", 49140, 890, 818.0, 300, 91.1, 89.0, 0.50, 0.95, 25, _RIG, is_datacenter=True),
    Gpu("RTX PRO 6000 WS", 97887, 1200, 1560.0, 600, 125.0, 166.0, 0.85, 1.60, 30, _RIG, is_datacenter=True),
    Gpu("Q RTX 8000", 46080, 750, 555.0, 260, 16.3, 26.0, 0.20, 0.35, 6, _HOME),
    Gpu("Tesla T4", 15360, 750, 243.0, 70, 8.1, 11.0, 0.08, 0.18, 10, _RIG, is_datacenter=True),
    Gpu("Tesla V100", 32768, 700, 765.0, 300, 15.7, 34.0, 0.15, 0.32, 20, _NODE, 150.0, is_datacenter=True),
    Gpu("L4", 23034, 890, 235.0, 72, 30.3, 30.0, 0.28, 0.45, 12, _RIG, is_datacenter=True),
    Gpu("L40S", 46068, 890, 717.0, 350, 91.6, 86.0, 0.50, 1.00, 35, _RIG, is_datacenter=True),
    Gpu("A10", 23028, 860, 469.0, 150, 31.2, 38.0, 0.15, 0.30, 10, _RIG, is_datacenter=True),
    Gpu("A100 PCIE", 40960, 800, 1198.0, 250, 19.5, 85.0, 0.55, 0.90, 15, _NODE, is_datacenter=True),
    Gpu("A100 PCIE", 81920, 800, 1502.0, 300, 19.5, 92.0, 0.75, 1.30, 15, _NODE, is_datacenter=True),
    Gpu("A100 SXM4", 40960, 800, 1200.0, 400, 19.5, 90.0, 0.55, 0.95, 12, _NODE, 280.0, is_datacenter=True),
    Gpu("A100 SXM4", 81920, 800, 1583.0, 400, 19.5, 97.0, 0.80, 1.40, 30, _NODE, 280.0, is_datacenter=True),
    Gpu("H100 PCIE", 81559, 900, 1530.0, 350, 51.2, 128.0, 1.50, 2.20, 12, _NODE, is_datacenter=True),
    Gpu("H100 SXM", 81559, 900, 2528.0, 700, 66.9, 179.0, 1.60, 2.90, 50, _NODE, 430.0, is_datacenter=True),
    Gpu("H100 NVL", 95830, 900, 2830.0, 400, 60.3, 165.0, 1.60, 2.60, 14, _NODE, 280.0, is_datacenter=True),
    Gpu("H200", 143771, 900, 3680.0, 700, 66.9, 190.0, 2.10, 3.60, 30, _NODE, 430.0, is_datacenter=True),
    Gpu("B200", 183359, 1000, 6480.0, 1000, 75.0, 310.0, 3.20, 5.20, 14, _NODE, 860.0, is_datacenter=True),
    Gpu("GH200 SXM", 97871, 900, 3400.0, 900, 67.0, 180.0, 1.30, 1.90, 5, (1,), is_datacenter=True, is_arm=True),
    Gpu("RX 7900 XTX", 24560, 0, 812.0, 355, 61.4, 0.0, 0.15, 0.30, 4, _HOME, arch="amd"),
)  # fmt: skip

CPUS: tuple[tuple[str, int, float], ...] = (
    ("AMD Ryzen 9 5950X 16-Core Processor", 32, 3.4),
    ("Intel(R) Core(TM) i9-14900K", 32, 6.0),
    ("AMD EPYC 7302 16-Core Processor", 32, 3.0),
    ("AMD EPYC 7443P 24-Core Processor", 48, 2.85),
    ("AMD Ryzen Threadripper PRO 5975WX 32-Cores", 64, 3.6),
    ("AMD EPYC 7B13 64-Core Processor", 128, 2.2),
    ("Intel(R) Xeon(R) Platinum 8480+", 224, 3.8),
    ("AMD EPYC 9654 96-Core Processor", 384, 2.4),
)
"""Name, logical cores of the whole machine, GHz; larger machines have the later ones."""

MOBOS = ("ROMED8-2T", "Z790 Gaming", "X570 TAICHI", "H12SSL-i", "0HNDJF", "MZ73-LM0-000")
DISKS = ("Samsung SSD 980", "WD_BLACK SN850X", "KINGSTON SNV2S2000G", "SAMSUNG MZQL23T8HCLS", "INTEL SSDPE2KX040T8")
DRIVERS: tuple[tuple[str, float], ...] = (
    ("535.86.05", 12.2),
    ("550.127.05", 12.4),
    ("560.35.03", 12.6),
    ("570.124.04", 12.8),
    ("580.95.05", 13.0),
)
"""Driver version and the highest CUDA version it supports."""

PLACES: tuple[tuple[str | None, int], ...] = (
    ("Texas, US", 14), ("California, US", 12), ("Virginia, US", 8), ("Washington, US", 6), ("New York, US", 6),
    ("Ontario, CA", 8), ("Quebec, CA", 8), ("British Columbia, CA", 4), ("Sweden, SE", 7), ("Norway, NO", 6),
    ("Finland, FI", 4), ("Germany, DE", 8), ("France, FR", 5), ("Czechia, CZ", 6), ("Poland, PL", 5),
    ("Spain, ES", 4), ("United Kingdom, GB", 5), ("Bulgaria, BG", 4), ("Japan, JP", 4), ("Taiwan, TW", 5),
    ("South Korea, KR", 5), ("Vietnam, VN", 4), ("Australia, AU", 3), ("Brazil, BR", 2), ("Iceland, IS", 2),
    (", US", 2), (None, 1),
)  # fmt: skip
"""How a place is written (sometimes without a city, sometimes not at all) and how common it is."""
