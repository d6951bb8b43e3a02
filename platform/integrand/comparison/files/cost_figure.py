"""Quality against a cost: every seed a point, every group its mean, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, SymmetricalLogLocator

from ...figures.drawing import PRINT_DPI, new_axes
from ...figures.label_placement import Mark, place_labels, shifted
from ...figures.palette import colour_and_marker
from ...figures.ranges import is_wide, limits, padded, span_of
from ..measures import Cost
from ..results import Comparison, Part, Row
from .caption import write_caption
from .describe import title

APART = 9.0
"""Points between groups of equal cost."""
EQUAL = 3.0
"""Points within which costs count as equal; a chain of different costs stays where it is."""
WIDEST = 120.0
"""Points that a row of groups of equal cost may take."""
ROOM = 0.22
"""Part of the cost axis that is left on each side for names."""


def quality_against_cost(comparison: Comparison, part: Part, cost: Cost) -> Figure:
    """One figure of one part; groups without the cost are named below the axes."""
    figure: Figure
    figure, axes = new_axes(7.0, 5.0, PRINT_DPI)
    metric = comparison.metric
    shown = [row for row in part.rows if row.costs.get(cost.key)]
    means = [cost_of.mean for row in shown if (cost_of := row.costs[cost.key])]
    _scale(axes, means + [x for row in shown for x, _ in _points(comparison, row, cost)])
    low, high = _quality_limits(comparison, shown)
    axes.set_ylim(low, high)
    axes.set_xlabel(cost.axis)
    axes.set_ylabel(metric.label)
    axes.set_title(title(comparison, part), loc="left")
    write_caption(figure, _caption(part, shown, _cut(shown, metric.scale, low, high)), 0.06)
    figure.canvas.draw()  # now positions in pixels are final
    _front(axes, comparison, part, cost)
    marks: list[Mark] = []
    for row, x, shift in zip(shown, means, _side_by_side(axes, means), strict=True):
        marks += _draw(axes, comparison, row, cost, x, shift, part.rows.index(row))
    place_labels(axes, [m for m in marks if low <= m.y <= high])
    return figure


def _draw(
    axes: Axes, comparison: Comparison, row: Row, cost: Cost, x: float, shift: float, index: int
) -> list[Mark]:
    """Draw seeds small and pale, the mean large with its interval.

    Returns:
        What labels should leave free; the mean with its label.
    """
    colour, marker = colour_and_marker(index)
    scale, moved = comparison.metric.scale, shifted(axes, shift)
    seeds = [Mark(xs, scale * ys, shift) for xs, ys in _points(comparison, row, cost)]
    axes.scatter(
        [m.x for m in seeds], [m.y for m in seeds], transform=moved,
        s=22, color=colour, marker=marker, alpha=0.4, linewidths=0,
    )  # fmt: skip
    y, bar = scale * row.quality.mean, [scale * end for end in _bar(row)]
    axes.plot([x] * len(bar), bar, transform=moved, color=colour, linewidth=1.2, alpha=0.8)
    axes.plot([x] * 2, bar[:1] + bar[-1:] or [y] * 2, transform=moved, ls="", marker="_", color=colour, ms=7)
    axes.plot(
        [x], [y], transform=moved, ls="", marker=marker, color=colour, ms=8, markeredgecolor="white", zorder=3
    )
    return [*seeds, *(Mark(x, end, shift) for end in bar), Mark(x, y, shift, row.label, colour)]


def _front(axes: Axes, comparison: Comparison, part: Part, cost: Cost) -> None:
    """The Pareto front as steps: what is the best quality for at most this cost."""
    rows = [part.row(label) for label in part.pareto.get(cost.key, ())]
    points = [
        (c.mean, comparison.metric.scale * row.quality.mean) for row in rows if (c := row.costs[cost.key])
    ]
    if not points:
        return
    edge = axes.get_xlim()[1 if cost.smaller_is_better else 0]
    xs, ys = [x for x, _ in points] + [edge], [y for _, y in points] + [points[-1][1]]
    axes.step(xs, ys, where="post", color="#666666", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def _side_by_side(axes: Axes, xs: Sequence[float]) -> list[float]:
    """How far to shift each group, in points, so that those of (nearly) equal cost stand side by side."""
    at = [72 / axes.figure.dpi * float(axes.transData.transform((x, 0.0))[0]) for x in xs]
    order = sorted(range(len(at)), key=lambda i: at[i])
    shifts = [0.0] * len(at)
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and at[order[end]] - at[order[start]] < EQUAL:
            continue
        cluster = order[start:end]
        centre = sum(at[i] for i in cluster) / len(cluster)
        apart = min(APART, WIDEST / max(1, len(cluster) - 1))
        for place, i in enumerate(cluster):
            wanted = centre + apart * (place - (len(cluster) - 1) / 2)
            shifts[i] = wanted - at[i] if len(cluster) > 1 else 0.0
        start = end
    return shifts


def _points(comparison: Comparison, row: Row, cost: Cost) -> list[tuple[float, float]]:
    """Cost and quality of every run that has both."""
    pairs = [(cost.of(run), comparison.metric.of(run)) for run in row.group.runs]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _quality_limits(comparison: Comparison, rows: Sequence[Row]) -> tuple[float, float]:
    """Room for every seed; see `limits`."""
    metric = comparison.metric
    seeds = [metric.scale * y for row in rows for y in row.group.values(metric)]
    low, high = padded(*limits(seeds, [metric.scale * y for row in rows for y in _bar(row)]))
    return low, min(high, 101.0) if metric.percent else high


def _cut(rows: Sequence[Row], scale: float, low: float, high: float) -> list[str]:
    """The groups whose intervals are wider than the axes."""
    return [row.label for row in rows if any(not low <= scale * y <= high for y in _bar(row))]


def _bar(row: Row) -> list[float]:
    """Places along an interval, which labels should leave free."""
    low, high = row.quality.low, row.quality.high
    return [] if low is None or high is None else [low + (high - low) * i / 24 for i in range(25)]


def _scale(axes: Axes, xs: Sequence[float]) -> None:
    """A logarithmic cost axis where a linear one would crowd the cheap groups; 0 keeps a place on it.

    Limits are set for good: what is drawn later, with names beside it, stays where it was placed.
    """
    low, high = min(xs), max(xs)
    positive = [x for x in xs if x > 0]
    if is_wide(xs):
        least = min(positive)
        stretch = (high / least) ** ROOM
        if low <= 0:
            axes.set_xscale("symlog", linthresh=least, linscale=0.4)
            axes.xaxis.set_major_locator(
                SymmetricalLogLocator(base=10, linthresh=least, subs=(1.0, 2.0, 5.0))
            )
            axes.set_xlim(-0.6 * least, high * stretch)
        else:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(least / stretch, high * stretch)
    else:
        span = span_of(low, high, 0.1)
        axes.set_xlim(low - ROOM * span, high + ROOM * span)
    # no cost is negative: what is left of 0 is room for names
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value >= 0 else ""))


def _caption(part: Part, shown: Sequence[Row], cut: Sequence[str]) -> str:
    """What the marks mean, and what is not in the picture."""
    ns = sorted({row.quality.n for row in shown})
    n = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]}–{ns[-1]}"
    text = (
        f"Large marks: mean with 95 % confidence interval; small marks: seeds, n = {n}. Dashed: Pareto "
        "front of the means."
    )
    absent = [row.label for row in part.rows if row not in shown]
    remarks = [f"Cost not recorded: {', '.join(absent)}."] if absent else []
    remarks += [f"Interval leaves the picture: {', '.join(cut)}."] if cut else []
    return "\n".join([text, " ".join(remarks)]).rstrip()
