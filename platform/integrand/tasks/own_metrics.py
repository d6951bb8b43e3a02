"""Metrics of one's own beside those of a task: named, tried once, and with a direction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor
from torchmetrics import Metric

from .. import quantities
from ..errors import UsageError
from ..quantities import Direction

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def named(
    metrics: Sequence[Metric], directions: Mapping[str, Direction], taken: Sequence[str]
) -> dict[str, Metric]:
    """Metrics by the name under which they are recorded; their directions are declared.

    A name is the class's in lower case, `mean_absolute_error` of `MeanAbsoluteError`, or its attribute
    `name`. Its direction is the one given, else the class's `higher_is_better`, else the one that Integrand
    declares for the name.

    Args:
        metrics: The metrics.
        directions: `larger`, `smaller` or `neither` is better, by name.
        taken: Names that are recorded already.

    Raises:
        UsageError: A name is taken or given twice, or nobody says which direction is better.
    """
    found: dict[str, Metric] = {}
    for metric in metrics:
        name = name_of(metric)
        if name in found or name in taken or not name.isidentifier():
            raise UsageError(
                f"the metric {type(metric).__name__} would be recorded as {name!r}, which is "
                f"{'taken' if name.isidentifier() else 'no name'}",
                'give its class another one, as in name = "my_metric"',
            )
        found[name] = metric
    if strange := sorted(set(directions) - set(found)):
        raise UsageError(
            f"metric_directions speaks of {strange[0]!r}, which is none of the metrics",
            f"the metrics are {', '.join(found) or 'none'}",
        )
    for name, metric in found.items():
        quantities.declare(name, directions.get(name) or _direction(name, metric))
    return found


def name_of(metric: Metric) -> str:
    """The name under which a metric is recorded."""
    name = getattr(metric, "name", None)
    return name if isinstance(name, str) else _WORDS.sub("_", type(metric).__name__).lower()


def _direction(name: str, metric: Metric) -> Direction:
    if metric.higher_is_better is not None:
        return "larger" if metric.higher_is_better else "smaller"
    declared = quantities.find(name)
    if declared is None:
        raise UsageError(
            f"nobody says whether a larger or a smaller {name} is better",
            f"--model.metric_directions.{name} larger, or higher_is_better = True in {type(metric).__name__}",
        )
    return declared.direction


def update(name: str, metric: Metric, said: Tensor, target: Tensor) -> None:
    """Take up one batch.

    Raises:
        UsageError: The metric does not take such predictions and targets.
    """
    try:
        metric.update(said, target)
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"the metric {name} does not take predictions of shape {tuple(said.shape)} with targets of shape "
            f"{tuple(target.shape)}: {first}",
            "its update(said, target) is told what the network says and what is true",
        ) from error


def try_out(name: str, metric: Metric, said: Tensor, target: Tensor) -> None:
    """See whether a metric makes one number of predictions and targets.

    Raises:
        UsageError: It does not.
    """
    trial = metric.clone()
    update(name, trial, said, target)
    value = trial.compute()
    if not isinstance(value, Tensor) or value.numel() != 1:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UsageError(
            f"the metric {name} gives {given}, and what is recorded is one number",
            "let it average, as --model.metrics.average macro does for many of torchmetrics",
        )
