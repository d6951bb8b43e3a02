"""Integrand: the experiment platform for neural networks that are differential equations.

Importing this package imports neither torch nor Lightning; its parts do when they are first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import comparison, datamodules, diffusion, modules, solvers, tasks
    from .comparison import compare_runs as compare
    from .loading import load

__all__ = [
    "__version__",
    "compare",
    "comparison",
    "datamodules",
    "diffusion",
    "load",
    "modules",
    "solvers",
    "tasks",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first named (PEP 562)."""
    if name == "compare":
        return import_module(".comparison", __name__).compare_runs
    if name == "load":
        return import_module(".loading", __name__).load
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also the parts that are not imported yet."""
    return sorted({*globals(), *__all__})
