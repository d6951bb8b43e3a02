"""Quality against evaluations, by sampler."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..quantities import Metric
from ..style import DPI, colour_and_marker
from .cells import Cell, SamplerPart
from .kinds import panels

_WIDTH, _HEIGHT = 4.6, 3.0


def quality_nfe(part: SamplerPart, metric: Metric) -> Figure:
    """Means with their intervals; a panel for each kind of sampler, the other kinds grey behind it.

    The abscissa is the evaluations spent, which a sampler may leave below its budget.
    """
    groups = panels(part.samplers)
    columns = 1 if len(groups) == 1 else 2
    rows = -(-len(groups) // columns)
    size = (6.8, 4.2) if len(groups) == 1 else (_WIDTH * columns, _HEIGHT * rows + 0.3)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (title, own) in zip(grid, groups, strict=False):
        _panel(axes, part, own, title)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    _scales(grid[0], part)
    direction = "smaller is better" if metric.mode == "min" else "larger is better"
    figure.supxlabel("network evaluations per sample", fontsize=10)
    figure.supylabel(f"{metric.name}, N = {part.n:,} ({direction})", fontsize=10)
    figure.suptitle(f"{part.model} on {part.data.name}, {_models(part)}", fontsize=11)
    return figure


def _panel(axes: Axes, part: SamplerPart, own: list[str], title: str) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=9.5, loc="left")
    for sampler in part.samplers:
        if sampler not in own:
            line = _line(part, sampler)
            axes.plot(
                [c.nfe for c in line], [_mean(c) for c in line], color="#d0d0d0", linewidth=0.8, zorder=1
            )
    for index, sampler in enumerate(own):
        line = _line(part, sampler)
        colour, marker = colour_and_marker(index)
        low = [max(0.0, _mean(c) - _end(c, "low")) for c in line]
        high = [max(0.0, _end(c, "high") - _mean(c)) for c in line]
        axes.errorbar(
            [c.nfe for c in line],
            [_mean(c) for c in line],
            yerr=[low, high],
            color=colour,
            marker=marker,
            markersize=3.8,
            linewidth=1.3,
            elinewidth=0.8,
            label=sampler,
            zorder=3,
        )
    if part.floor is not None:
        axes.axhline(part.floor, color="#444444", linestyle="--", linewidth=0.9, label="data against data")
    axes.legend(frameon=False, fontsize=7, loc="best")


def _scales(axes: Axes, part: SamplerPart) -> None:
    """Logarithmic abscissa; the ordinate too where scores span a factor of ten.

    Intervals of three models reach far; the means decide what is shown.
    """
    spent = sorted({round(c.nfe) for c in part.cells.values()})
    axes.set_xscale("log")
    axes.set_xticks(part.budgets, [str(b) for b in part.budgets])
    axes.minorticks_off()
    axes.set_xlim(0.85 * spent[0], 1.2 * spent[-1])
    means = [_mean(c) for c in part.cells.values() if c.estimate is not None]
    means += [] if part.floor is None else [part.floor]
    low, high = min(means), max(means)
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        margin = 0.08 * (high - low or 1)
        axes.set_ylim(low - margin, high + margin)


def _line(part: SamplerPart, sampler: str) -> list[Cell]:
    cells = [c for (s, _), c in part.cells.items() if s == sampler and c.estimate is not None]
    return sorted(cells, key=lambda c: c.nfe)


def _mean(cell: Cell) -> float:
    return cell.estimate.mean if cell.estimate is not None else math.nan


def _end(cell: Cell, which: str) -> float:
    """An end of the interval; the mean where there is none."""
    end = getattr(cell.estimate, which)
    return _mean(cell) if end is None else float(end)


def _models(part: SamplerPart) -> str:
    n = len(part.models)
    return f"{n} models, mean and 95 % interval" if n > 1 else "one model"
