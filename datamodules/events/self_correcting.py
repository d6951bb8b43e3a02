"""Events that keep further ones away."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from ..series.recording import Array
from .base import Kinds
from .cards import SELF_CORRECTING
from .simulated import SimulatedEvents, refuse_more


class SelfCorrecting(SimulatedEvents):
    """λ(t) = exp(μt − αN(t)) after N events (Isham & Westcott 1979): the tension rises until an event.

    Args:
        mu: μ, positive; in the long run events come at the rate μ/α.
        alpha: α, positive.
        **kwargs: See `SimulatedEvents`.

    Raises:
        UsageError: A number is out of its domain, or there are several kinds.
    """

    card = SELF_CORRECTING

    def __init__(self, mu: float = 1.0, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not (0 < mu < np.inf and 0 < alpha < np.inf) or self.number > 1:
            raise UsageError(
                f"mu={mu}, alpha={alpha}, kinds={self.number}", "give positive numbers, and one kind"
            )
        self.mu, self.alpha = mu, alpha

    def draw(self, rng: np.random.Generator) -> tuple[list[float], list[int]]:
        """See `SimulatedEvents.draw`: ∫λ to the next event is Exp(1), solved for its time."""
        times: list[float] = []
        t = 0.0
        while True:
            level = self.mu * t - self.alpha * len(times)
            t += np.log1p(self.mu * rng.exponential() * np.exp(-level)) / self.mu
            if t >= self.duration:
                return times, [0] * len(times)
            refuse_more(times)
            times.append(t)

    def rates(self, times: Array, kinds: Kinds, at: Array, past: npt.NDArray[np.bool_]) -> Array:
        """See `SimulatedEvents.rates`."""
        rate: Array = np.exp(self.mu * at - self.alpha * past.sum(axis=1))
        return rate[:, None]

    def likelihood(self, times: Array, kinds: Kinds, end: float) -> float:
        """See `SimulatedEvents.likelihood`."""
        number = np.arange(len(times) + 1)
        edges = np.concatenate([[0.0], times, [end]])
        levels = self.mu * edges[:-1] - self.alpha * number
        gone = np.exp(levels) * np.expm1(self.mu * np.diff(edges)) / self.mu
        return float((self.mu * times - self.alpha * number[:-1]).sum() - gone.sum())
