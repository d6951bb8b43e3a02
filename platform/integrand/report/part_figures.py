"""The figures of one part: what the rows of a comparison look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from integrand.comparison.files import describe
from integrand.comparison.measures import (
    COSTS,
    NFE_FORWARD,
    PARAMETERS,
    PEAK_MEMORY,
    SECONDS_PER_EPOCH,
    Cost,
    Metric,
)
from integrand.comparison.results import Comparison, Curve, Part, Row
from integrand.comparison.tables import formatting
from integrand.comparison.tables.table import Cell, Column, Table

from .figures.curves import Line, curves, small_curve
from .figures.forest import Line as ForestLine
from .figures.forest import forest
from .figures.scatter import Point, scatter
from .identity import Identity
from .page import Figure
from .summary import differs
from .wording import enumeration, minus, plural

Identities = Mapping[str, Identity]

CURVES = {
    "quality": ("Quality over training", "Quality"),
    "train_loss": ("Training loss", "Training loss"),
    "nfe_forward": ("Forward evaluations over training", "Forward NFE"),
    "nfe_backward": ("Backward evaluations over training", "Backward NFE"),
}
FIRST_COSTS = (NFE_FORWARD, SECONDS_PER_EPOCH, PARAMETERS, PEAK_MEMORY)
"""What readers look for first; the others follow in the order of the tables."""
TRAINING, EVALUATIONS = ("quality", "train_loss"), ("nfe_forward", "nfe_backward")
MOST_LINES, MOST_ROWS, MOST_POINTS = 40, 60, 150
"""Groups beyond which lines, rows or points cannot be read; figures then show the best, tables all."""
_SAMPLED = 6
"""Epochs of a curve that its table shows."""


def cost_figures(key: str, comparison: Comparison, part: Part, ids: Identities) -> tuple[Figure, ...]:
    """Quality against every cost in which groups differ."""
    shown = [cost for cost in sorted(COSTS, key=_place) if differs(part, cost)]
    return tuple(_cost_figure(f"{key}-{cost.key}", comparison, part, cost, ids) for cost in shown)


def _place(cost: Cost) -> int:
    """Where a cost stands among the figures."""
    return FIRST_COSTS.index(cost) if cost in FIRST_COSTS else len(FIRST_COSTS)


def _cost_figure(key: str, comparison: Comparison, part: Part, cost: Cost, ids: Identities) -> Figure:
    metric, front = comparison.metric, part.pareto.get(cost.key, ())
    with_cost = [row for row in part.rows if row.costs.get(cost.key)]
    rows = [row for place, row in enumerate(with_cost) if place < MOST_POINTS or row.label in front]
    points = [_point(row, metric, cost, ids[row.label], row.label in front) for row in rows]
    alt = minus(describe.alt_quality_against_cost(comparison, part, cost))
    caption = _cost_caption(part, cost)
    if len(rows) < len(with_cost):
        caption += f" Shown are the {MOST_POINTS} best of {len(with_cost)} groups, and the front."
    table = _cost_table(key, metric, cost, rows, front)
    svg = scatter(points, cost.axis, metric.label, alt, metric.mode == "max")
    title = f"{metric.label} against {cost.label}"
    return Figure(key, title, svg, caption, table, tuple(ids[row.label] for row in rows), cost.label)


def _cost_table(key: str, metric: Metric, cost: Cost, rows: Sequence[Row], front: Sequence[str]) -> Table:
    """The numbers of the figure."""
    return Table(
        key,
        f"{metric.label} and {cost.axis}",
        (
            Column("group", False),
            Column("n"),
            Column(cost.axis),
            Column(metric.label),
            Column("Pareto front", False),
        ),
        tuple(
            (
                Cell(row.label, row.label),
                Cell(str(row.quality.n), row.quality.n),
                Cell(formatting.cost(cost.key, row.costs[cost.key]), _mean(row, cost)),
                Cell(minus(formatting.quality(row.quality, metric.scale)), row.quality.mean),
                Cell("yes" if row.label in front else "no", str(row.label not in front)),
            )
            for row in rows
        ),
    )


def _cost_caption(part: Part, cost: Cost) -> str:
    """What the marks are, and which groups have none."""
    caption = "Large marks are means with their 95 % intervals, small marks single seeds."
    caption += " The line is the Pareto front of the means." if part.pareto.get(cost.key) else ""
    absent = [row.label for row in part.rows if not row.costs.get(cost.key)]
    return caption + (f" Not recorded for {enumeration(absent)}." if absent else "")


def _point(row: Row, metric: Metric, cost: Cost, identity: Identity, front: bool) -> Point:
    q, scale = row.quality, metric.scale
    pairs = [(cost.of(run), metric.of(run)) for run in row.group.runs]
    value = minus(formatting.quality(q, scale))
    text = (
        f"{row.label}: {metric.label} {value}, {cost.label} {formatting.cost(cost.key, row.costs[cost.key])}"
    )
    return Point(
        identity,
        _mean(row, cost) or 0.0,
        scale * q.mean,
        None if q.low is None else scale * q.low,
        None if q.high is None else scale * q.high,
        [(x, scale * y) for x, y in pairs if x is not None and y is not None],
        f"{text}, {plural(q.n, 'seed')}{', on the Pareto front' if front else ''}",
        front,
    )


def _mean(row: Row, cost: Cost) -> float | None:
    found = row.costs.get(cost.key)
    return found.mean if found else None


def difference_figure(
    key: str, comparison: Comparison, part: Part, ids: Identities, table: Table
) -> Figure | None:
    """The forest plot; None where no group shares a seed with the reference."""
    metric = comparison.metric
    lines = [line for row in part.rows if (line := _difference(row, metric, ids)) is not None]
    if not lines:
        return None
    found, lines = len(lines), lines[:MOST_ROWS]
    unit = "points" if metric.percent else metric.name
    better = "left" if metric.mode == "min" else "right"
    label = f"difference to {part.reference} ({unit})"
    alt = f"Forest plot of paired differences of {metric.label} to {part.reference}. " + " ".join(
        f"{line.text}." for line in lines[: describe.MAX_NAMED]
    )
    caption = (
        f"Mean difference to {part.reference} over common seeds with its 95 % interval; better is to the "
        f"{better}. Filled marks are told apart from zero by the Holm-corrected test, hollow ones are not."
        f"{_cut(found, MOST_ROWS)}"
    )
    return Figure(key, "Paired differences", forest(lines, label, alt), caption, table)


def _difference(row: Row, metric: Metric, ids: Identities) -> ForestLine | None:
    """A line of the forest plot; None for the reference and for groups without common seeds."""
    found = row.difference
    if found is None or found.paired is None:
        return None
    e = found.paired.estimate
    shown = minus(formatting.difference(e, metric.scale))
    points = " points" if metric.percent else ""
    verdict = "not told apart" if found.verdict == "tie" else found.verdict
    return ForestLine(
        ids[row.label],
        metric.scale * e.mean,
        None if e.low is None else metric.scale * e.low,
        None if e.high is None else metric.scale * e.high,
        shown,
        f"{row.label}: {shown}{points} over {plural(e.n, 'seed')}, {verdict}, "
        f"corrected p {formatting.p_value(found.p_t)}",
        found.verdict in {"better", "worse"},
    )


def curve_figures(
    key: str, comparison: Comparison, part: Part, ids: Identities, names: tuple[str, ...]
) -> tuple[Figure, ...]:
    """The named quantities over training, each over all groups that recorded it."""
    found = []
    for name in names:
        # backward evaluations that nobody makes are no figure
        if any(any(row.curves[name].mean) for row in part.rows if name in row.curves):
            found.append(_curve_figure(f"{key}-{name}", name, comparison, part, ids))
    return tuple(found)


def _curve_figure(key: str, name: str, comparison: Comparison, part: Part, ids: Identities) -> Figure:
    recorded_by = [row for row in part.rows if name in row.curves]
    series = [(row.label, row.curves[name]) for row in recorded_by[:MOST_LINES]]
    scale = comparison.metric.scale if name == "quality" else 1.0
    lines = [_line(ids[label], curve, scale) for label, curve in series]
    recorded = series[0][1].series
    y_label = _y_label(name, recorded, scale)
    title, tab = CURVES[name]
    alt = minus(describe.alt_curves(comparison, part, name))
    methods = sorted({curve.method for _, curve in series if curve.method})
    caption = f"Lines and bands: {'; '.join(methods)}.{_cut(len(recorded_by), MOST_LINES)}"
    svg = curves(lines, "epoch", y_label, alt)
    return Figure(
        key, title, svg, caption, _sampled(key, title, lines), tuple(line.identity for line in lines), tab
    )


def seed_curve(key: str, metric: Metric, curve: Curve, identity: Identity, where: str) -> Figure:
    """One group's quality over training with every seed."""
    line = _line(identity, curve, metric.scale, seeds=True)
    y_label = _y_label("quality", curve.series, metric.scale)
    alt = (
        f"{y_label} of {identity.label} on {where} by epoch, {plural(len(curve.seeds), 'seed')}: "
        f"from {line.shown[0]} to {line.shown[-1]}."
    )
    svg = small_curve(line, "epoch", y_label, alt)
    caption = "Bold: mean; thin: single seeds."
    return Figure(key, "Quality over training", svg, caption, _sampled(key, "Quality over training", [line]))


def _line(identity: Identity, curve: Curve, scale: float, seeds: bool = False) -> Line:
    def scaled(values: tuple[float | None, ...]) -> list[float | None]:
        return [None if v is None else scale * v for v in values]

    mean, low, high = [scale * v for v in curve.mean], scaled(curve.low), scaled(curve.high)
    shown = [_shown(m, lo, hi) for m, lo, hi in zip(mean, low, high, strict=True)]
    every = [scaled(values) for values in curve.seeds.values()] if seeds and len(curve.seeds) > 1 else []
    return Line(identity, curve.epochs, mean, low, high, shown, every)


def _cut(groups: int, most: int) -> str:
    """What the caption adds where a figure does not show every group."""
    return f" Shown are the {most} best of {groups} groups." if groups > most else ""


def _y_label(name: str, recorded: str, scale: float) -> str:
    if name in EVALUATIONS:
        return f"{'forward' if name == 'nfe_forward' else 'backward'} NFE per training batch"
    return f"{recorded} (%)" if scale == 100 else recorded


def _shown(mean: float, low: float | None, high: float | None) -> str:
    text = f"{mean:.4g}" if low is None or high is None else f"{mean:.4g} ({low:.4g} to {high:.4g})"
    return minus(text)


def _sampled(key: str, title: str, lines: list[Line]) -> Table:
    """A few epochs of every curve."""
    epochs = sorted({x for line in lines for x in line.xs})
    if len(epochs) > _SAMPLED:
        epochs = [epochs[round(i * (len(epochs) - 1) / (_SAMPLED - 1))] for i in range(_SAMPLED)]
    rows = []
    for line in lines:
        at = dict(zip(line.xs, zip(line.mean, line.shown, strict=True), strict=True))
        cells = [Cell(at[e][1], at[e][0]) if e in at else Cell(formatting.MISSING) for e in epochs]
        rows.append((Cell(line.identity.label, line.identity.label), *cells))
    columns = (Column("group", False), *(Column(f"epoch {e:g}") for e in epochs))
    return Table(key, title, columns, tuple(rows))
