"""Writes the page beside the tables of the comparison."""

from __future__ import annotations

from pathlib import Path

from integrand.comparison.files.write import write as write_comparison
from integrand.comparison.results import Comparison

from .atlas import Atlas, markdown
from .page import Page
from .render import render, render_atlas

PAGE = "report.html"
ATLAS = "atlas.html"


def write(comparison: Comparison, page: Page, folder: Path) -> list[Path]:
    """Write `report.html`, and the Markdown, CSV, LaTeX and PNG files of `integrand compare`.

    Returns:
        The files written, the page first.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    path.write_text(render(page), encoding="utf-8")
    return [path, *write_comparison(comparison, folder)]


def write_atlas(atlas: Atlas, folder: Path) -> list[Path]:
    """Write `atlas.html` and `atlas.md`.

    Returns:
        The files written, the page first.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / ATLAS, folder / "atlas.md"]
    paths[0].write_text(render_atlas(atlas), encoding="utf-8")
    paths[1].write_text(markdown(atlas), encoding="utf-8")
    return paths
