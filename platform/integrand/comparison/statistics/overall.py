"""Several data sets together: the groups that all of them have, each data set a stratum of equal weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..measures import Metric
from ..results import Overall, OverallRow, Part
from .bootstrap import estimate_strata
from .estimates import Estimate
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
    common = _common(parts)
    if len(common) < 2:
        return None
    values = {label: [part.row(label).group.values(metric) for part in parts] for label in common}
    quality = {label: estimate_strata(v) if metric.percent else None for label, v in values.items()}
    labels = sorted(common, key=lambda label: (_standing(label, quality, parts, metric), label))
    reference = baseline if baseline in labels else labels[0]
    rows = tuple(
        OverallRow(
            label, tuple(map(len, values[label])), quality[label], _chance(values, label, reference, metric)
        )
        for label in labels
    )
    return Overall(tuple(_names(parts)), rows, reference, _absent(parts, common), _note(metric))


def _common(parts: Sequence[Part]) -> list[str]:
    """The groups that every data set has."""
    return [row.label for row in parts[0].rows if all(_has(part, row.label) for part in parts)]


def _standing(
    label: str, quality: Mapping[str, Estimate | None], parts: Sequence[Part], metric: Metric
) -> float:
    """What the groups are sorted by: the mean, or the mean place over the data sets where none is shared."""
    found = quality[label]
    if found is not None:
        return found.mean if metric.mode == "min" else -found.mean
    places = [[row.label for row in part.rows if row.label in quality].index(label) for part in parts]
    return sum(places) / len(places)


def _chance(
    values: Mapping[str, Sequence[Sequence[float]]], label: str, reference: str, metric: Metric
) -> Improvement | None:
    """The probability of improvement over the reference, None for the reference itself."""
    if label == reference:
        return None
    pairs = zip(values[label], values[reference], strict=True)
    return over_tasks([improvement(a, b, metric.mode == "max") for a, b in pairs])


def _absent(parts: Sequence[Part], common: Sequence[str]) -> tuple[str, ...]:
    """The groups that some data set lacks."""
    return tuple(sorted({row.label for part in parts for row in part.rows} - set(common)))


def _note(metric: Metric) -> str:
    """What is averaged, in words."""
    equal = "each data set weighs the same"
    if metric.percent:
        return equal
    return f"{equal}; {metric.name} has no common scale over data sets and is not averaged"


def _has(part: Part, label: str) -> bool:
    return any(row.label == label for row in part.rows)


def _names(parts: Sequence[Part]) -> list[str]:
    """Names of the data sets, with sizes and digest where two are called the same."""
    names = [part.data.title for part in parts]
    return [str(part.data) if names.count(part.data.title) > 1 else part.data.title for part in parts]
