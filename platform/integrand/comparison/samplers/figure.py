"""Quality against evaluations, by sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...figures.drawing import PRINT_DPI
from ...figures.palette import colour_and_marker
from ..measures import Metric
from .cells import SamplerPart
from .kinds import panels

_WIDTH, _HEIGHT = 4.6, 3.0


class Point(NamedTuple):
    """A score; its interval is the score itself where there is none."""

    nfe: float
    mean: float
    low: float
    high: float


Lines = Mapping[str, Sequence[Point]]


def quality_nfe(part: SamplerPart, metric: Metric) -> Figure:
    """The figure of a model, or of several that differ by seed.

    The abscissa is the evaluations spent, which a sampler may leave below its budget.
    """
    lines = {}
    for sampler in part.samplers:
        cells = [c for (s, _), c in part.cells.items() if s == sampler]
        lines[sampler] = [
            Point(
                c.nfe,
                c.estimate.mean,
                c.estimate.mean if c.estimate.low is None else c.estimate.low,
                c.estimate.mean if c.estimate.high is None else c.estimate.high,
            )
            for c in cells
            if c.estimate is not None
        ]
    direction = "smaller is better" if metric.mode == "min" else "larger is better"
    n = len(part.models)
    models = f"{n} models, mean and 95 % interval" if n > 1 else "one model"
    return draw(
        lines,
        part.floor,
        part.budgets,
        f"{metric.name}, N = {part.n:,} ({direction})",
        f"{part.model} on {part.data.name}, {models}",
    )


def draw(lines: Lines, floor: float | None, budgets: Sequence[int], ordinate: str, title: str) -> Figure:
    """A panel for each kind of sampler, the other kinds grey behind it; one panel for a few samplers.

    Args:
        lines: Points by sampler.
        floor: What data score against data.
        budgets: Ticks of the abscissa.
        ordinate: Name of the score.
        title: What is shown.
    """
    groups = panels(list(lines))
    columns = 1 if len(groups) == 1 else 2
    rows = -(-len(groups) // columns)
    size = (6.8, 4.2) if len(groups) == 1 else (_WIDTH * columns, _HEIGHT * rows + 0.3)
    figure = Figure(figsize=size, dpi=PRINT_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (kind, own) in zip(grid, groups, strict=False):
        _panel(axes, lines, floor, own, kind)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    _scales(grid[0], lines, floor, budgets)
    figure.supxlabel("network evaluations per sample", fontsize=10)
    figure.supylabel(ordinate, fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def _panel(axes: Axes, lines: Lines, floor: float | None, own: Sequence[str], title: str) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=9.5, loc="left")
    for sampler, line in lines.items():
        points = sorted(line)
        if sampler not in own and points:
            axes.plot([p.nfe for p in points], [p.mean for p in points], color="#d0d0d0", linewidth=0.8)
    for index, sampler in enumerate(own):
        points = sorted(lines[sampler])
        colour, marker = colour_and_marker(index)
        axes.errorbar(
            [p.nfe for p in points],
            [p.mean for p in points],
            yerr=[[p.mean - p.low for p in points], [p.high - p.mean for p in points]],
            color=colour,
            marker=marker,
            markersize=3.8,
            linewidth=1.3,
            elinewidth=0.8,
            label=sampler,
            zorder=3,
        )
    if floor is not None:
        axes.axhline(floor, color="#444444", linestyle="--", linewidth=0.9, label="data against data")
    axes.legend(frameon=False, fontsize=7, loc="best")


def _scales(axes: Axes, lines: Lines, floor: float | None, budgets: Sequence[int]) -> None:
    """Logarithmic abscissa; the ordinate too where scores span a factor of ten.

    Intervals of three models reach far; the means decide what is shown.
    """
    points = [p for line in lines.values() for p in line]
    axes.set_xscale("log")
    axes.set_xticks(list(budgets), [str(b) for b in budgets])
    axes.minorticks_off()
    if not points:
        return
    axes.set_xlim(0.85 * min(p.nfe for p in points), 1.2 * max(p.nfe for p in points))
    means = [p.mean for p in points] + ([] if floor is None else [floor])
    low, high = min(means), max(means)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        margin = 0.08 * (high - low or 1)
        axes.set_ylim(low - margin, high + margin)
