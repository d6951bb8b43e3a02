"""Writes everything a comparison leaves in a folder."""

from __future__ import annotations

from pathlib import Path

from .export import write_csv
from .figures import write_figures
from .results import Comparison
from .tables import markdown


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write table.csv, runs.csv, table.md and the figures, creating the folder.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "table.md"
    text.write_text(markdown(comparison), encoding="utf-8")
    return [*write_csv(comparison, folder), text, *write_figures(comparison, folder)]
