"""What the figures share: one look, no global state, a description inside the file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours, which colour-blind readers can tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


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


def new_axes(width: float = 5.0, height: float = 3.4) -> tuple[Any, Any]:
    """A figure with one pair of axes, made without pyplot: nothing global, no display, no leak."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def finish(figure: Any, name: str, description: str) -> Picture:
    """Draw; the description goes into the file too."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Description": description})
    return Picture(name, buffer.getvalue(), description)
