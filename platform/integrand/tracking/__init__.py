"""What a run leaves behind: metrics, artifacts, checkpoints and its record, kept whole whatever happens.

Names are loaded on first use, so that the torch-free parts (`integrand.tracking.store`, `….spool`)
cost no import of torch or Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import default_callbacks
    from .callbacks.config_recorder import ConfigRecorder
    from .logger import MLflowTracker
    from .processes.exits import exit_code

__all__ = ["ConfigRecorder", "MLflowTracker", "default_callbacks", "exit_code"]

_HOME = {
    "ConfigRecorder": ".callbacks.config_recorder",
    "MLflowTracker": ".logger",
    "default_callbacks": ".callbacks",
    "exit_code": ".processes.exits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)
