"""Next step sizes of adaptive solves, from the errors of the steps before."""

from __future__ import annotations

import math

SAFETY, SHRINK, GROW = 0.8, 0.2, 10.0
"""A step of 0.8 of what the estimate allows is seldom rejected; 0.9 and 0.95 cost more evaluations at equal
error on the problems of `integrand bench precision`, for every method."""
REACH = 1.01
"""How much longer than allowed a step may be to end on a stop."""
Gains = tuple[float, float, float]
INTEGRAL: Gains = (0.0, 1.0, 0.0)


class PIDController:
    """Next step from the errors of the last ones, Söderlind (2003), eq. 10–13.

    The factor is safety · e_n^{−(P+I+D)/k} e_{n−1}^{(P+2D)/k} e_{n−2}^{−D/k} with k the order of the local
    error.

    Args:
        order: Order of the error estimate, the local error being of order + 1.
        pid: Proportional, integral and derivative gain.
        safety: Share of the step that the error estimate would just allow.
    """

    def __init__(self, order: int, pid: Gains = INTEGRAL, safety: float = SAFETY) -> None:
        k, (p, i, d) = order + 1, pid
        self.safety = safety
        self.powers = ((p + i + d) / k, (p + 2 * d) / k, d / k)
        self.past = (1.0, 1.0)
        self._growth = GROW

    def accepted(self, error: float) -> float:
        """Factor for the next step after an accepted one with this error ratio."""
        factor, (now, before, further) = GROW, self.powers
        previous, last = self.past
        if error > 0:
            factor = self.safety * math.pow(error, -now) * math.pow(previous, before)
            if further:
                factor *= math.pow(last, -further)
        self.past = (max(error, 1e-4), previous)
        factor = min(self._growth, max(SHRINK, factor))
        self._growth = GROW
        return factor

    def hold(self) -> None:
        """Let the next accepted step not be followed by a longer one."""
        self._growth = 1.0

    def rejected(self, error: float) -> float:
        """Factor for the repetition of a rejected step; no growth right after it."""
        self.hold()
        if not math.isfinite(error):
            return SHRINK
        return min(1.0, max(SHRINK, self.safety * math.pow(error, -self.powers[0])))


def approach(left: float, h: float) -> float:
    """Length of a step that may be h long where `left` is left until the next stop.

    A hair longer than h beats a last step of a hair; two equal steps beat a long one and the remnant,
    Shampine and Watts (1979).
    """
    if left <= REACH * h:
        return left
    return left / 2 if left < 2 * h else h
