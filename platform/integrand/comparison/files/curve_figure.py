"""Curves over training: one line per group, its band, and its name at the end of the line."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...figures.drawing import PRINT_DPI, new_axes
from ...figures.palette import colour_and_marker
from ...figures.ranges import span_of
from ..results import Comparison, Curve, Part
from .caption import write_caption
from .describe import title

MAX_BANDS = 8
"""Groups up to which bands are drawn; more would hide each other."""
_AXES = {
    "quality": "{}",
    "train_loss": "training loss ({})",
    "nfe_forward": "forward NFE per training batch ({})",
    "nfe_backward": "backward NFE per training batch ({})",
}
_LABEL_HEIGHT = 11.0
"""Points that a name at the end of a line needs."""


def curve_figure(comparison: Comparison, part: Part, key: str) -> Figure:
    """One figure of one part; groups without the curve are named below the axes."""
    figure: Figure
    figure, axes = new_axes(7.0, 5.0, PRINT_DPI)
    drawn = [(i, row.label, row.curves[key]) for i, row in enumerate(part.rows) if key in row.curves]
    scale = comparison.metric.scale if key == "quality" else 1.0
    for index, _, curve in drawn:
        _line(axes, curve, scale, index, len(drawn) <= MAX_BANDS)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_ordinate(comparison, key, drawn[0][2].series))
    axes.set_title(title(comparison, part), loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    means = [scale * y for _, _, curve in drawn for y in curve.mean]
    _limit(axes, means)
    if key == "quality" and part.target:
        axes.axhline(
            scale * part.target.value, color="#666666", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1
        )
    write_caption(figure, _caption(part, key, len(drawn)), 0.04)
    _name_lines(axes, drawn, scale)
    return figure


def _ordinate(comparison: Comparison, key: str, series: str) -> str:
    percent = " (%)" if key == "quality" and comparison.metric.percent else ""
    return _AXES[key].format(series) + percent


def _caption(part: Part, key: str, drawn: int) -> str:
    """What the lines are, and which groups have none."""
    bands = "Bands: 95 % interval of the mean at each epoch (Student t)." if drawn <= MAX_BANDS else ""
    target = "Dashed: the target." if key == "quality" and part.target else ""
    absent = [row.label for row in part.rows if key not in row.curves]
    missing = f"Not recorded: {', '.join(absent)}." if absent else ""
    return " ".join(filter(None, [f"Lines: means over seeds. {bands}", target, missing]))


def _line(axes: Axes, curve: Curve, scale: float, index: int, band: bool) -> None:
    colour, marker = colour_and_marker(index)
    mean = [scale * y for y in curve.mean]
    every = max(1, len(mean) // 12)
    axes.plot(
        curve.epochs, mean, color=colour, marker=marker, markevery=(index % every, every), ms=5, lw=1.5,
        markeredgecolor="white", markeredgewidth=0.5, zorder=3,
    )  # fmt: skip
    if band:
        low = [math.nan if y is None else scale * y for y in curve.low]
        high = [math.nan if y is None else scale * y for y in curve.high]
        axes.fill_between(curve.epochs, low, high, color=colour, alpha=0.12, linewidth=0)


def _limit(axes: Axes, means: list[float]) -> None:
    """Room for the lines; the bands of few seeds may be many times as wide and are cut."""
    low, high = min(means), max(means)
    span = span_of(low, high, 0.1)
    bottom = low - 0.12 * span
    axes.set_ylim(max(bottom, -0.03 * span) if low >= 0 else bottom, high + 0.12 * span)


def _name_lines(axes: Axes, drawn: list[tuple[int, str, Curve]], scale: float) -> None:
    """Names right of the axes at the heights where the lines end, moved apart where they would overlap."""
    figure = axes.figure
    low, high = axes.get_ylim()
    height = 72 * axes.get_position().height * figure.get_figure(root=True).get_size_inches()[1]
    ends = sorted((scale * curve.mean[-1], index, label) for index, label, curve in drawn)
    places = [(y - low) / (high - low) for y, _, _ in ends]
    step = min(_LABEL_HEIGHT / height, 1 / max(1, len(places) - 1))
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + step)
    over = max(0.0, places[-1] - 1.0)
    places[-1] -= over
    for i in range(len(places) - 2, -1, -1):
        places[i] = min(places[i], places[i + 1] - step)
    size = 8.5 if step * height >= _LABEL_HEIGHT else 6.5
    for (y, index, label), place in zip(ends, places, strict=True):
        colour, _ = colour_and_marker(index)
        axes.annotate(
            label, (1.0, (y - low) / (high - low)), (1.05, place), xycoords="axes fraction",
            textcoords="axes fraction", fontsize=size, color="#222222", va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 1, "shrinkB": 1,
                "relpos": (0, 0.5)},
        )  # fmt: skip
