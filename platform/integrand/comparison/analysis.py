"""From recorded runs to what can be said about them; the pieces are computed next door."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from integrand.errors import UsageError
from integrand.record import RunRecord

from .measures import COSTS, Cost, Metric, Mode, choose_metric, validation_series
from .records.frames import read_table, records_of
from .records.group_labels import GroupBy
from .records.groups import DataKey, Expected, Group, sort_runs
from .records.load import Selection, load
from .records.traces import Traces
from .results import Comparison, Difference, Part, Row, Sensitivity
from .statistics.bootstrap import estimate_quality
from .statistics.curves import curves
from .statistics.estimates import Estimate, estimate
from .statistics.overall import overall
from .statistics.pairs import compare_pairs, turned
from .statistics.pareto import pareto_front
from .statistics.sensitivity import sensitivities
from .statistics.target import choose_target, reach
from .tables.notes import notes
from .tables.wording import Costs

if TYPE_CHECKING:
    import pandas as pd


def compare(
    records: Sequence[RunRecord],
    metric: Metric,
    by: GroupBy = "config",
    baseline: str | None = None,
    title: str = "",
    expected: Sequence[Expected] = (),
    traces: Traces | None = None,
    target: float | None = None,
) -> Comparison:
    """Compare recorded runs; the order of `records` does not change the result.

    Args:
        records: The runs, finished or not.
        metric: The quality.
        by: What a group is.
        baseline: Label of the group to take differences to; None takes the best of each table.
        title: What is compared.
        expected: Runs that a suite planned.
        traces: Series of the runs; None takes those that the records still hold.
        target: Quality whose time is measured, in the metric's unit; None chooses one.

    Raises:
        UsageError: There is no group `baseline`, or the target is out of range.
    """
    traces = Traces.of(records) if traces is None else traces
    result = sort_runs(records, metric, by, expected)
    labels = sorted({group.label for groups in result.parts.values() for group in groups})
    if baseline is not None and baseline not in labels:
        close = difflib.get_close_matches(baseline, labels, n=3, cutoff=0.4) or labels
        raise UsageError(f"no group is called {baseline!r}", f"--baseline takes one of: {', '.join(close)}")
    sensitive, unpaired = sensitivities(result.parts, result.evaluations, metric)
    parts = tuple(
        _part(data, groups, metric, baseline, traces, target, sensitive[data])
        for data, groups in result.parts.items()
    )
    left_out = sorted([*result.left_out, *unpaired], key=lambda o: o.order)
    return Comparison(
        title,
        metric,
        parts,
        tuple(left_out),
        (*result.notes, *notes(parts, baseline, metric)),
        overall(parts, metric, baseline),
    )


def compare_selected(
    selection: Selection,
    metric: str | None = None,
    mode: Mode | None = None,
    by: GroupBy = "config",
    baseline: str | None = None,
    target: float | None = None,
) -> Comparison:
    """Load the runs that a selection names, and compare them.

    Args:
        selection: Which runs.
        metric: Name of the quality; None takes the one that the runs declare.
        mode: Its direction; None takes the declared one.
        by: See `compare`.
        baseline: See `compare`.
        target: See `compare`.

    Raises:
        UsageError: The options name runs, metrics or groups that do not exist.
        TrackingError: The store cannot be read.
    """
    loaded = load(selection)
    quality = choose_metric(loaded.records, metric, mode)
    return compare(
        loaded.records, quality, by, baseline, selection.title, loaded.expected, loaded.traces, target
    )


def compare_runs(
    runs: pd.DataFrame | str | Path,
    metric: str | None = None,
    *,
    group: str | Sequence[str] | None = None,
    seed: str | None = None,
    data: str | None = None,
    mode: Mode | None = None,
    baseline: str | None = None,
    target: float | None = None,
) -> Comparison:
    """Compare results from anywhere, with the statistics of `integrand compare`.

    Args:
        runs: A pandas frame with a row for each run, such as `mlflow.search_runs()`; a CSV file of one, such
            as W&B exports; or the name of an MLflow experiment, whoever recorded it.
        metric: Column or name of the quality; None takes one that is known, such as `val_acc`.
        group: Columns that say what is compared; see `records_of`.
        seed: Column of the seed, by which runs are paired; by default one called so.
        data: Column of the data set: groups on different ones are not compared.
        mode: Whether smaller (`min`) or larger (`max`) is better; None takes what is declared of the name.
        baseline: Group to take differences to; None takes the best.
        target: See `compare`.

    Raises:
        UsageError: The table or the store lacks what is named, or it is not known which values are better.
        TrackingError: The store cannot be read.
    """
    if isinstance(runs, str) and Path(runs).suffix != ".csv":
        return compare_selected(Selection(runs), metric, mode, "config", baseline, target)
    title = Path(runs).stem if isinstance(runs, str | Path) else "runs"
    frame = read_table(runs) if isinstance(runs, str | Path) else runs
    records = records_of(frame, group, seed, data)
    quality = choose_metric(records, metric, mode)
    return compare(records, quality, "config", baseline, title, target=target)


def _part(
    data: DataKey,
    groups: Sequence[Group],
    metric: Metric,
    baseline: str | None,
    traces: Traces,
    wanted: float | None,
    sensitive: tuple[Sensitivity, ...],
) -> Part:
    """What is said about the groups of one data set."""
    quality = {group.label: estimate_quality(group.values(metric)) for group in groups}
    ordered = _best_first(groups, quality, metric)
    reference = next((g for g in ordered if g.label == baseline), ordered[0])
    chosen = reference.label == baseline
    costs = {g.label: {cost.key: _cost(g, cost) for cost in COSTS} for g in groups}
    pairs, tests = compare_pairs(ordered, reference, chosen, metric, costs)
    differences = _to_reference(reference.label, pairs, metric, costs)
    series = validation_series(metric, [run for group in groups for run in group.runs])
    target = choose_target(ordered, metric, series, traces, wanted)
    rows = tuple(
        Row(
            group,
            quality[group.label],
            costs[group.label],
            differences.get(group.label),
            curves(group, traces, series),
            reach(group, target, metric, traces) if target else None,
        )
        for group in ordered
    )
    return Part(data, rows, reference.label, chosen, pairs, tests, _fronts(rows, metric), target, sensitive)


def _best_first(groups: Sequence[Group], quality: Mapping[str, Estimate], metric: Metric) -> list[Group]:
    """The groups in order of their means."""
    sign = 1 if metric.mode == "min" else -1
    return sorted(groups, key=lambda g: (sign * quality[g.label].mean, g.label))


def _to_reference(
    reference: str, pairs: Sequence[Difference], metric: Metric, costs: Mapping[str, Costs]
) -> dict[str, Difference]:
    """The pairs with the reference, by the other group and seen from it."""
    differences = {d.a: d for d in pairs if d.b == reference}
    return differences | {d.b: turned(d, metric, costs) for d in pairs if d.a == reference}


def _cost(group: Group, cost: Cost) -> Estimate | None:
    """The cost over the runs that recorded it."""
    values = [value for run in group.runs if (value := cost.of(run)) is not None]
    return estimate(values) if values else None


def _fronts(rows: Sequence[Row], metric: Metric) -> Mapping[str, tuple[str, ...]]:
    """The Pareto front of mean quality against each mean cost that was recorded."""
    fronts = {}
    for cost in COSTS:
        points = {row.label: (c.mean, row.quality.mean) for row in rows if (c := row.costs[cost.key])}
        if points:
            fronts[cost.key] = pareto_front(points, metric.mode == "max", cost.smaller_is_better)
    return fronts
