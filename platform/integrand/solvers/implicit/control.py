"""Step-size control of stiff solves."""

from __future__ import annotations

import math
from dataclasses import dataclass

SAFETY, SHRINK, GROW = 0.9, 0.2, 8.0
HALVE = 0.5
"""What is left of a step whose equations could not be solved."""


@dataclass
class PredictiveController:
    """Gustafsson (1994) as in Hairer, Wanner (1996), IV.8, eqs. 8.25 and 8.26: the error's trend goes on.

    Args:
        order: Order of the error estimate, the local error being of order + 1.
    """

    order: int
    _step: float = 0.0
    _error: float = 0.0
    _growth: float = GROW

    def accepted(self, h: float, error: float) -> float:
        """Length of the next step after an accepted one of length h with this error ratio."""
        exponent = 1 / (self.order + 1)
        error = max(error, 1e-10)
        factor = math.pow(error, -exponent)
        if self._step:
            factor = min(factor, factor * h / self._step * math.pow(self._error / error, exponent))
        self._step, self._error = h, max(error, 1e-2)
        factor = min(self._growth, max(SHRINK, SAFETY * factor))
        self._growth = GROW
        return h * factor

    def rejected(self, h: float, error: float) -> float:
        """Length of the repetition of a rejected step; no growth right after it."""
        self._growth = 1.0
        if not math.isfinite(error):
            return h * SHRINK
        return h * max(SHRINK, SAFETY * math.pow(error, -1 / (self.order + 1)))

    def failed(self, h: float) -> float:
        """Length of the repetition of a step that could not be solved; no growth right after it."""
        self._growth = 1.0
        return h * HALVE
