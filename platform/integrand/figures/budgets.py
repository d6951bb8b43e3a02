"""Quality against a budget: a line for each sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .drawing import Picture, finish, new_grid
from .palette import colour_and_marker
from .ranges import is_wide, padded

Points = Sequence[tuple[float, float]]
"""Evaluations that were spent, and the score."""

MOST = 7
"""Lines that one panel holds."""


def budget_figure(
    lines: Mapping[str, Points], floor: float | None, budgets: Sequence[int], ordinate: str
) -> Picture:
    """Panels of `MOST` lines, the others grey behind them.

    Args:
        lines: Points by sampler; those that are not finite are left out.
        floor: What data score against data.
        budgets: Ticks of the abscissa.
        ordinate: Name of the score.
    """
    shown = {name: sorted(p for p in points if math.isfinite(p[1])) for name, points in lines.items()}
    names = list(shown)
    groups = [names[i : i + MOST] for i in range(0, len(names), MOST)]
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    size = (6.8, 4.2) if len(groups) == 1 else (4.6 * columns, 3.0 * rows + 0.3)
    figure, grid = new_grid(rows, columns, *size, share=True)
    for axes, own in zip(grid.ravel(), groups, strict=False):
        _panel(axes, shown, floor, own)
    for axes in grid.ravel()[len(groups) :]:
        axes.set_visible(False)
    _scales(grid[0, 0], shown, floor, budgets)
    figure.supxlabel("network evaluations per sample", fontsize=10)
    figure.supylabel(ordinate, fontsize=10)
    return finish(figure, "quality_nfe", f"{ordinate} against network evaluations, by {', '.join(names)}.")


def _panel(axes: Any, lines: Mapping[str, Points], floor: float | None, own: Sequence[str]) -> None:
    for name, points in lines.items():
        if name not in own and points:
            axes.plot(*zip(*points, strict=True), color="#d0d0d0", linewidth=0.8)
    for index, name in enumerate(own):
        colour, marker = colour_and_marker(index)
        xs, ys = [x for x, _ in lines[name]], [y for _, y in lines[name]]
        axes.plot(xs, ys, color=colour, marker=marker, markersize=3.8, linewidth=1.3, label=name, zorder=3)
    if floor is not None:
        axes.axhline(floor, color="#444444", linestyle="--", linewidth=0.9, label="data against data")
    axes.legend(frameon=False, fontsize=7, loc="best")


def _scales(axes: Any, lines: Mapping[str, Points], floor: float | None, budgets: Sequence[int]) -> None:
    """Logarithmic abscissa, and room for every point."""
    points = [p for line in lines.values() for p in line]
    axes.set_xscale("log")
    axes.set_xticks(list(budgets), [str(b) for b in budgets])
    axes.minorticks_off()
    if not points:
        return
    axes.set_xlim(0.85 * min(x for x, _ in points), 1.2 * max(x for x, _ in points))
    _score_scale(axes, [y for _, y in points] + ([] if floor is None else [floor]))


def _score_scale(axes: Any, scores: Sequence[float]) -> None:
    """Ordinate of the scores, logarithmic where they span a factor of ten."""
    low, high = min(scores), max(scores)
    if low > 0 and is_wide(scores):
        axes.set_yscale("log")
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        axes.set_ylim(*padded(low, high))
