"""The Pareto front of quality against a cost."""

from __future__ import annotations

from collections.abc import Mapping


def pareto_front(
    points: Mapping[str, tuple[float, float]], larger_is_better: bool, smaller_cost: bool = True
) -> tuple[str, ...]:
    """Labels of the points that no other point dominates, cheapest first.

    A point dominates another if it is at least as good in cost and quality and better in one of them, so
    points that are equal in both stand on the front together.

    Args:
        points: Cost and quality by label.
        larger_is_better: Whether a larger quality is better.
        smaller_cost: Whether a smaller cost is better.
    """
    cost_sign = 1.0 if smaller_cost else -1.0
    sign = -1.0 if larger_is_better else 1.0
    turned = sorted((cost_sign * cost, sign * quality, label) for label, (cost, quality) in points.items())
    front: list[tuple[float, float, str]] = []
    for cost, quality, label in turned:
        if not front or quality < front[-1][1] or (cost, quality) == front[-1][:2]:
            front.append((cost, quality, label))
    return tuple(label for _, _, label in front)
