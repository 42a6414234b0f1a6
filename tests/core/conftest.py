from __future__ import annotations

import sys
from pathlib import Path

# The shared stage of these tests is a plain module beside them.
sys.path.insert(0, str(Path(__file__).parent))
