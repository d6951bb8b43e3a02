"""Several data sets together: the groups that all of them have, each data set a stratum of equal weight."""

from __future__ import annotations

from collections.abc import Sequence

from ..measures import Metric
from ..results import Overall, OverallRow, Part
from .bootstrap import estimate_strata
from .probability import Improvement, improvement, over_tasks


def overall(parts: Sequence[Part], metric: Metric, baseline: str | None = None) -> Overall | None:
    """The common groups over all data sets; None with one data set or fewer than two common groups.

    Fractions such as accuracies share a scale over data sets and are averaged. Losses and errors are not:
    for them only the probability of improvement is given, which does not depend on the scale.

    Args:
        parts: One per data set.
        metric: The quality.
        baseline: Label of the group to compare to, if the reader named one; else the best.
    """
    if len(parts) < 2:
        return None
    labels = [row.label for row in parts[0].rows if all(_has(part, row.label) for part in parts)]
    if len(labels) < 2:
        return None
    values = {label: [part.row(label).group.values(metric) for part in parts] for label in labels}
    quality = {label: estimate_strata(values[label]) if metric.percent else None for label in labels}
    sign = 1 if metric.mode == "min" else -1

    def standing(label: str) -> tuple[float, str]:
        found = quality[label]
        if found is not None:
            return sign * found.mean, label
        # without a common scale: the mean place over the data sets
        places = [[row.label for row in part.rows if row.label in values].index(label) for part in parts]
        return sum(places) / len(places), label

    labels.sort(key=standing)
    reference = baseline if baseline in labels else labels[0]

    def chance(label: str) -> Improvement | None:
        if label == reference:
            return None
        pairs = zip(values[label], values[reference], strict=True)
        return over_tasks([improvement(a, b, metric.mode == "max") for a, b in pairs])

    everyone = sorted({row.label for part in parts for row in part.rows})
    rows = tuple(
        OverallRow(label, tuple(len(v) for v in values[label]), quality[label], chance(label))
        for label in labels
    )
    return Overall(
        tuple(_names(parts)),
        rows,
        reference,
        tuple(label for label in everyone if label not in values),
        "each data set weighs the same"
        + (
            ""
            if metric.percent
            else f"; {metric.name} has no common scale over data sets and is not averaged"
        ),
    )


def _has(part: Part, label: str) -> bool:
    return any(row.label == label for row in part.rows)


def _names(parts: Sequence[Part]) -> list[str]:
    """Names of the data sets, with sizes and digest where two are called the same."""
    names = [part.data.name for part in parts]
    return [str(part.data) if names.count(part.data.name) > 1 else part.data.name for part in parts]
