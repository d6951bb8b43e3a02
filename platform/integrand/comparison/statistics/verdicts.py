"""What a corrected p value establishes."""

from __future__ import annotations

from ..measures import Metric
from ..results import Verdict
from .estimates import PairedDifference

ALPHA = 0.05


def verdict(paired: PairedDifference | None, p: float | None, metric: Metric) -> Verdict:
    """Better, worse or tie of a paired difference; untested with fewer than two pairs or without a test.

    Args:
        paired: The differences.
        p: Corrected p of the t test, or of the sign-flip test where the t test says nothing.
        metric: Which direction is better.
    """
    if paired is None or paired.estimate.n < 2 or p is None:
        return "untested"
    if p >= ALPHA:
        return "tie"
    return "better" if metric.better(paired.estimate.mean, 0.0) else "worse"
