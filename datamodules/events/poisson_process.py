"""Events that know nothing of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from ..series.recording import Array
from .base import Kinds
from .cards import POISSON_PROCESS
from .simulated import SimulatedEvents, refuse_more


class PoissonProcess(SimulatedEvents):
    """λ constant and the same for every kind: log L = n log λ − λT for each.

    Args:
        rate: λ of each kind, positive.
        **kwargs: See `SimulatedEvents`.

    Raises:
        UsageError: A number is out of its domain.
    """

    card = POISSON_PROCESS

    def __init__(self, rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < rate < np.inf:
            raise UsageError(f"rate={rate}", "give a positive number")
        self.rate = rate

    def draw(self, rng: np.random.Generator) -> tuple[list[float], list[int]]:
        """See `SimulatedEvents.draw`: gaps are exponential."""
        times: list[float] = []
        total = self.rate * self.number
        t = rng.exponential(1 / total)
        while t < self.duration:
            refuse_more(times)
            times.append(t)
            t += rng.exponential(1 / total)
        return times, rng.integers(self.number, size=len(times)).tolist()

    def rates(self, times: Array, kinds: Kinds, at: Array, past: npt.NDArray[np.bool_]) -> Array:
        """See `SimulatedEvents.rates`."""
        return np.full((len(at), self.number), self.rate)

    def likelihood(self, times: Array, kinds: Kinds, end: float) -> float:
        """See `SimulatedEvents.likelihood`."""
        return float(len(times) * np.log(self.rate) - self.rate * self.number * end)
