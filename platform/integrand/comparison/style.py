"""What all figures share: colours, markers, size."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .results import Comparison, Part

# Okabe and Ito (2008), distinguishable with every common colour vision deficiency; yellow left out on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
SIZE = (7.0, 5.0)
DPI = 160


def colour_and_marker(index: int) -> tuple[str, str]:
    """Of the group at a place in `Part.rows`; 63 groups differ."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def new_figure() -> tuple[Figure, Axes]:
    """An empty figure that needs no display."""
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def title(comparison: Comparison, part: Part) -> str:
    """What the figure is of."""
    return f"{comparison.title}: {part.data.name}" if comparison.title else part.data.name


def slug(name: str) -> str:
    """`name` as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
