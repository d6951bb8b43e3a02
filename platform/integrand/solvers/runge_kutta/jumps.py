"""Times at which a field jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


class Jumps:
    """The jumps inside a solve, and the times next to them that a field is asked at.

    A step that ends on a jump sees the field as it is before it, the next one as it is after it.

    Args:
        times: Times of the jumps, in any order.
        start: First time of the solve.
        end: Last time of the solve, on either side.
        clock: Dtype of the times that the field is called with.
    """

    def __init__(self, times: Sequence[float], start: float, end: float, clock: torch.dtype) -> None:
        low, high = min(start, end), max(start, end)
        self._sign = 1.0 if end > start else -1.0
        inside = sorted({t for t in times if low <= t <= high}, reverse=end < start)
        self.inner = [t for t in inside if t not in (start, end)]
        self._before = {t: _next_to(t, -self._sign, clock) for t in inside}
        self._after = {t: _next_to(t, self._sign, clock) for t in inside}
        self.any = bool(inside)
        """Whether there are any, ends of the solve included."""

    def __contains__(self, t: float) -> bool:
        return t in self._before

    def before(self, t: float) -> float:
        """The last time before a jump at t; t itself where there is none."""
        return self._before.get(t, t)

    def after(self, t: float) -> float:
        """The first time after a jump at t; t itself where there is none."""
        return self._after.get(t, t)

    def merged(self, stops: Sequence[float]) -> list[float]:
        """Jumps and other stops, in the order of the solve."""
        return sorted({*self.inner, *stops}, reverse=self._sign < 0)


def _next_to(t: float, sign: float, dtype: torch.dtype) -> float:
    side = torch.tensor(sign * math.inf, dtype=dtype)
    return torch.nextafter(torch.tensor(t, dtype=dtype), side).item()
