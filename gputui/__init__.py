"""gputui: every GPU cloud you have an account with, in one terminal.

    from gputui import GPU

Names are imported when they are first used, so that `import gputui` costs nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOME_OF_NAME = {
    "GPU": "gputui.sdk",
    "Job": "gputui.sdk",
    "AsyncGPU": "gputui.sdk_async",
    "AsyncJob": "gputui.sdk_async",
    "MachineInfo": "gputui.sdk_types",
    "OfferInfo": "gputui.sdk_types",
    "Price": "gputui.sdk_types",
    "Route": "gputui.sdk_types",
    "SshKeyInfo": "gputui.sdk_types",
    "VolumeInfo": "gputui.sdk_types",
    "GputuiError": "gputui.model.errors",
}

__all__ = ["__version__", *_HOME_OF_NAME]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF_NAME:
        raise AttributeError(f"module 'gputui' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME_OF_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
