"""What the figures share: one look, no global state, a description inside the file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

SCREEN_DPI = 110
PRINT_DPI = 160
"""Pixels per inch of figures that go into papers."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Args:
        name: File name without suffix.
        png: The image.
        description: What it shows, in words, for those who cannot see it.
    """

    name: str
    png: bytes
    description: str


def new_grid(
    rows: int, columns: int, width: float, height: float, dpi: int = SCREEN_DPI, share: bool = False
) -> tuple[Any, Any]:
    """A figure with rows and columns of axes, made without pyplot: nothing global, no display, no leak.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        width: In inches.
        height: In inches.
        dpi: Pixels per inch.
        share: Whether all axes have the same scales.

    Returns:
        The figure, and its axes in an array of shape (rows, columns).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    for axes in grid.ravel():
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure, grid


def new_axes(width: float = 5.0, height: float = 3.4, dpi: int = SCREEN_DPI) -> tuple[Any, Any]:
    """A figure with one pair of axes; see `new_grid`."""
    figure, grid = new_grid(1, 1, width, height, dpi)
    return figure, grid[0, 0]


def finish(figure: Any, name: str, description: str) -> Picture:
    """Draw; the description goes into the file too."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=SCREEN_DPI, metadata={"Description": description})
    return Picture(name, buffer.getvalue(), description)


def slug(name: str) -> str:
    """`name` as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
