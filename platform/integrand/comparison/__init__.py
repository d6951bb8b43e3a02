"""Recorded runs → statistics, tables and figures. Knows MLflow and run records, never torch or Lightning."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis import compare, compare_runs, compare_selected
    from .files.write import write
    from .records.load import Selection, load, load_folder
    from .results import Comparison
    from .tables.terminal import print_comparison

_HOME = {
    "Comparison": "results",
    "Selection": "records.load",
    "compare": "analysis",
    "compare_runs": "analysis",
    "compare_selected": "analysis",
    "load": "records.load",
    "load_folder": "records.load",
    "print_comparison": "tables.terminal",
    "write": "files.write",
}
__all__ = [
    "Comparison",
    "Selection",
    "compare",
    "compare_runs",
    "compare_selected",
    "load",
    "load_folder",
    "print_comparison",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562): scipy and pandas take their time."""
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also the names that are not loaded yet."""
    return sorted({*globals(), *__all__})
