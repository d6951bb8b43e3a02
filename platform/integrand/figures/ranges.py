"""The rules by which every figure chooses its axes."""

from __future__ import annotations

from collections.abc import Sequence

CROWDED = 20.0
"""A cost axis is logarithmic where its largest value is this many times its smallest positive one."""
STEEP = 50.0
"""So is the axis of a curve over time, which a linear axis shows longer."""


def is_wide(values: Sequence[float], ratio: float = CROWDED) -> bool:
    """Whether a linear axis would crowd the small ones among the positive values."""
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) / min(positive) > ratio


def span_of(low: float, high: float, share: float = 0.02) -> float:
    """The width of a range; of a single value a share of it."""
    return high - low or share * abs(high) or 1.0


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """The range with some room on either side; a single value gets a range of its own."""
    span = span_of(low, high)
    return low - share * span, high + share * span


def limits(values: Sequence[float], ends: Sequence[float], share: float = 1.0) -> tuple[float, float]:
    """Room for every value, and for the ends of intervals as far as they leave the values apart.

    With two seeds an interval may be twenty times as wide as everything else.

    Args:
        values: What has to be seen.
        ends: Ends of intervals.
        share: How far beyond the values they may reach, as a share of the range of the values.
    """
    low, high = min(values), max(values)
    beyond = share * span_of(low, high)
    return max(min([low, *ends]), low - beyond), min(max([high, *ends]), high + beyond)
