"""Speed and memory, measured and printed; never asserted, because machines are noisy.

    .venv/bin/python tests/bench/run.py            every benchmark
    .venv/bin/python tests/bench/run.py imports    one of them

Each line gives the median of several runs, the target where there is one, and the ratio to it.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

BENCHES = ("imports", "pricing", "routing", "refresh", "vast", "tui", "log")


def main(names: list[str]) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    for name in names or BENCHES:
        print(f"\n{name}")
        importlib.import_module(f"bench_{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
