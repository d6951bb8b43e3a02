"""Quality against cost: every seed a point, every group its mean with interval, labelled where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .analysis import Comparison, Part, Row
from .labels import place_labels
from .quantities import NFE_FORWARD, SECONDS_PER_EPOCH, Cost

# Okabe and Ito (2008), distinguishable with every common colour vision deficiency; yellow left out on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
SIZE = (7.0, 5.0)
DPI = 160
LOG_RATIO = 20.0
"""A cost axis is logarithmic where its largest value is this many times its smallest."""

FIGURES = (
    ("quality_nfe", NFE_FORWARD, "forward NFE per training batch (last epoch)"),
    ("quality_seconds", SECONDS_PER_EPOCH, "training time per epoch (s)"),
)


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write one PNG per part and cost; a cost that no run recorded has no figure.

    Returns:
        The files written: `quality_nfe.png` and `quality_seconds.png`, with the data's name in between where
        there are several data sets.
    """
    paths = []
    for number, part in enumerate(comparison.parts):
        for name, cost, axis_label in FIGURES:
            if any(row.costs.get(cost.key) for row in part.rows):
                suffix = f"_{number + 1}_{_slug(part.data.name)}" if len(comparison.parts) > 1 else ""
                paths.append(folder / f"{name}{suffix}.png")
                quality_against_cost(comparison, part, cost, axis_label).savefig(paths[-1], dpi=DPI)
    return paths


def quality_against_cost(comparison: Comparison, part: Part, cost: Cost, axis_label: str) -> Figure:
    """One figure of one part; groups without the cost are named below the axes."""
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    metric, scale = comparison.metric, comparison.metric.scale
    shown = [row for row in part.rows if row.costs.get(cost.key)]
    anchors = []
    for index, row in enumerate(part.rows):
        if row in shown:
            anchors.append(_draw(axes, comparison, row, cost, index))
    _scale(axes, [x for x, _, _ in anchors])
    low, high = _quality_limits(comparison, shown)
    axes.set_ylim(low, high)
    cut = [row.label for row in shown if any(not low <= scale * y <= high for y in _bar(row))]
    axes.set_xlabel(axis_label)
    axes.set_ylabel(metric.label)
    axes.set_title(
        f"{comparison.title}: {part.data.name}" if comparison.title else part.data.name, loc="left"
    )
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, 0.005, _caption(part, shown, cut), fontsize=7.5, color="#444444", va="bottom")
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(rect=(0, 0.06, 1, 0.94))  # type: ignore[call-arg]  # the constrained engine takes rect
    points = [(x, scale * y) for row in shown for x, y in _points(comparison, row, cost)]
    points += [(x, scale * y) for row, (x, _, _) in zip(shown, anchors, strict=True) for y in _bar(row)]
    place_labels(axes, [(row.label, x, y, c) for row, (x, y, c) in zip(shown, anchors, strict=True)], points)
    return figure


def _draw(axes: Axes, comparison: Comparison, row: Row, cost: Cost, index: int) -> tuple[float, float, str]:
    """Draw seeds small and pale, the mean large with its interval.

    Returns:
        Where the mean stands, and its colour.
    """
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    scale, spent = comparison.metric.scale, row.costs[cost.key]
    assert spent is not None
    points = _points(comparison, row, cost)
    xs, ys = [x for x, _ in points], [scale * y for _, y in points]
    axes.scatter(xs, ys, s=22, color=colour, marker=marker, alpha=0.4, linewidths=0)
    x, y = spent.mean, scale * row.quality.mean
    half = row.quality.half_width
    axes.errorbar(
        [x], [y], yerr=None if half is None else [scale * half],
        fmt=marker, color=colour, markersize=8, markeredgecolor="white", capsize=3, linewidth=1.4, zorder=3,
    )  # fmt: skip
    return x, y, colour


def _points(comparison: Comparison, row: Row, cost: Cost) -> list[tuple[float, float]]:
    """Cost and quality of every run that has both."""
    pairs = [(cost.of(run), comparison.metric.of(run)) for run in row.group.runs]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _quality_limits(comparison: Comparison, rows: Sequence[Row]) -> tuple[float, float]:
    """Room for every seed, and for intervals as far as they leave the seeds apart: with two seeds an interval
    may be twenty times as wide as everything else.
    """
    scale = comparison.metric.scale
    seeds = [scale * y for row in rows for y in row.group.values(comparison.metric)]
    span = (max(seeds) - min(seeds)) or 0.02 * abs(max(seeds)) or 1.0
    ends = [scale * y for row in rows for y in _bar(row)] + seeds
    low, high = max(min(ends), min(seeds) - span), min(max(ends), max(seeds) + span)
    margin = 0.06 * (high - low or span)
    top = min(high + margin, 101.0) if comparison.metric.percent else high + margin
    return low - margin, top


def _bar(row: Row) -> list[float]:
    """Places along an interval, which labels should leave free."""
    low, high = row.quality.low, row.quality.high
    return [] if low is None or high is None else [low + (high - low) * i / 12 for i in range(13)]


def _scale(axes: Axes, xs: Sequence[float]) -> None:
    """A logarithmic cost axis where a linear one would crowd the cheap groups; 0 keeps a place on it."""
    positive = [x for x in xs if x > 0]
    if positive and max(positive) / min(positive) > LOG_RATIO:
        if len(positive) < len(xs):
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.4)
            axes.set_xlim(left=-0.15 * min(positive))
        else:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.12, y=0.08)


def _caption(part: Part, shown: Sequence[Row], cut: Sequence[str]) -> str:
    """What the marks mean, and what is not in the picture."""
    ns = sorted({row.quality.n for row in shown})
    n = f"{ns[0]}" if len(ns) == 1 else f"{ns[0]}–{ns[-1]}"
    text = f"Large marks: mean with 95 % confidence interval (Student t); small marks: seeds, n = {n}."
    absent = [row.label for row in part.rows if row not in shown]
    remarks = [f"Cost not recorded: {', '.join(absent)}."] if absent else []
    remarks += [f"Interval leaves the picture: {', '.join(cut)}."] if cut else []
    return "\n".join([text, " ".join(remarks)]).rstrip()


def _slug(name: str) -> str:
    """`name` as part of a file name."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
