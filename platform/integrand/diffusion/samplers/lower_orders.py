"""How many past evaluations the last steps of a multistep method use."""

from __future__ import annotations

from .base import Run

SHORT = 15
"""Below this number of steps the last ones have lower order (Lu et al. 2022, DPM-Solver++, Sec. 5)."""


def usable(order: int, run: Run, i: int, lower_order_final: bool) -> int:
    """Evaluations that step i of a run may use.

    Args:
        order: How many the method uses elsewhere.
        run: The run.
        i: Index of the step.
        lower_order_final: Whether short runs end at lower order.
    """
    steps = len(run.nodes) - 1
    return min(order, steps - i) if lower_order_final and steps < SHORT else order
