"""Writes everything a comparison leaves in a folder."""

from __future__ import annotations

from pathlib import Path

from ..results import Comparison
from ..tables.latex import latex
from ..tables.markdown import markdown
from .figures import DESCRIPTIONS, write_figures
from .spreadsheets import write_csv


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write CSV files, table.md, table.tex, the figures and their descriptions, creating the folder.

    Returns:
        The files written.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {folder / "table.md": markdown(comparison), folder / "table.tex": latex(comparison)}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    figures = [file.path for file in write_figures(comparison, folder)]
    return [*write_csv(comparison, folder), *texts, folder / DESCRIPTIONS, *figures]
