"""Step-size control of adaptive solves."""

from __future__ import annotations

import math
from dataclasses import dataclass

SAFETY, SHRINK, GROW = 0.95, 0.2, 10.0


@dataclass
class PIController:
    """Proportional–integral control, Gustafsson (1991) as in Hairer, Wanner (1996), IV.2.

    Args:
        order: Order of the error estimate, the local error being of order + 1.
    """

    order: int
    previous: float = 1.0

    def __post_init__(self) -> None:
        k = self.order + 1
        beta = 0.1 / k  # half of Hairer's: as few steps as plain integral control here, with a smaller error
        self._integral = 1 / k - 0.75 * beta
        self._proportional = beta
        self._growth = GROW

    def accepted(self, error: float) -> float:
        """Factor for the next step after an accepted one with this error ratio."""
        factor = GROW
        if error > 0:
            factor = SAFETY * math.pow(error, -self._integral) * math.pow(self.previous, self._proportional)
        self.previous = max(error, 1e-4)
        factor = min(self._growth, max(SHRINK, factor))
        self._growth = GROW
        return factor

    def rejected(self, error: float) -> float:
        """Factor for the repetition of a rejected step; no growth right after it."""
        self._growth = 1.0
        if not math.isfinite(error):
            return SHRINK
        return min(1.0, max(SHRINK, SAFETY * math.pow(error, -self._integral)))
