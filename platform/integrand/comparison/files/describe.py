"""What a figure shows, in words, for those who cannot see it."""

from __future__ import annotations

from ..measures import Cost
from ..results import Comparison, Part
from ..tables import formatting

_QUANTITIES = {
    "quality": "quality",
    "train_loss": "training loss",
    "nfe_forward": "forward evaluations per training batch",
    "nfe_backward": "backward evaluations per training batch",
}
MAX_NAMED = 12
"""Groups that an alternative text names; with more, the best of them."""


def alt_quality_against_cost(comparison: Comparison, part: Part, cost: Cost) -> str:
    """Alternative text of quality against a cost: every group with both, and the Pareto front."""
    metric = comparison.metric
    shown = [row for row in part.rows if row.costs.get(cost.key)]
    named = [
        f"{row.label} {formatting.quality(row.quality, metric.scale)} at {formatting.cost(cost.key, value)}"
        for row in shown[:MAX_NAMED]
        if (value := row.costs[cost.key])
    ]
    more = f" and {len(shown) - MAX_NAMED} more groups" if len(shown) > MAX_NAMED else ""
    front = ", ".join(part.pareto.get(cost.key, ())) or "none"
    return (
        f"Scatter plot of {metric.label} against {cost.axis} on {part.data.title}. "
        f"{'; '.join(named)}{more}. Pareto front from cheap to dear: {front}."
    )


def alt_curves(comparison: Comparison, part: Part, key: str) -> str:
    """Alternative text of curves over training: where each group begins and ends."""
    shown = [(row.label, row.curves[key]) for row in part.rows if key in row.curves]
    if not shown:
        return f"No curves of {_QUANTITIES[key]} on {part.data.title}."
    scale = comparison.metric.scale if key == "quality" else 1.0
    named = [
        f"{label} from {formatting.number(scale * c.mean[0])} at epoch {c.epochs[0]:g} "
        f"to {formatting.number(scale * c.mean[-1])} at epoch {c.epochs[-1]:g}"
        for label, c in shown[:MAX_NAMED]
    ]
    more = f" and {len(shown) - MAX_NAMED} more groups" if len(shown) > MAX_NAMED else ""
    return (
        f"Lines of {_QUANTITIES[key]} ({shown[0][1].series}) over epochs on {part.data.title}, "
        f"means over seeds with bands. {'; '.join(named)}{more}."
    )


def title(comparison: Comparison, part: Part) -> str:
    """What the figure is of."""
    return f"{comparison.title}: {part.data.title}" if comparison.title else part.data.title
