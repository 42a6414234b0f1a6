"""The terminal interface. A view: it reads the store and writes wishes; it never spends by itself.

Over SSH every byte travels, so animations are off and frames are few. Textual reads these variables once, when it is
first imported, which is why they are set here; what the user set stays.
"""

from __future__ import annotations

import os

SSH_DEFAULTS = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_FPS": "20", "TEXTUAL_SMOOTH_SCROLL": "0"}

if "SSH_CONNECTION" in os.environ:
    for _name, _value in SSH_DEFAULTS.items():
        os.environ.setdefault(_name, _value)
