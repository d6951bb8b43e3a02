"""Events that bring further ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import UsageError

from ..series.recording import Array
from .base import Kinds
from .cards import HAWKES
from .simulated import SimulatedEvents, refuse_more


class Hawkes(SimulatedEvents):
    """λₖ(t) = μ + Σ aₖⱼ exp(−β(t − tᵢ)) over earlier events i of kind j (Hawkes 1971), from an empty past.

    aₖⱼ is α for events of the same kind and `cross` for others. Without cross excitation and with the
    defaults it is the first of the exponential processes of Jia & Benson (2019).

    Args:
        mu: μ, positive.
        alpha: α, 0 or more.
        beta: β, positive; an event brings (α + (kinds − 1) cross)/β further ones on average, below 1.
        cross: What an event adds to the rate of every other kind, 0 or more.
        **kwargs: See `SimulatedEvents`.

    Raises:
        UsageError: A number is out of its domain, or events would never end.
    """

    card = HAWKES

    def __init__(
        self, mu: float = 0.2, alpha: float = 0.8, beta: float = 1.0, cross: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        added = alpha + (self.number - 1) * cross
        if not (0 < mu < np.inf and min(alpha, cross) >= 0 and 0 <= added < beta < np.inf):
            raise UsageError(
                f"mu={mu}, alpha={alpha}, beta={beta}, cross={cross}",
                "give positive numbers, and a beta above alpha + (kinds - 1) cross, or events never end",
            )
        self.mu, self.beta, self.added = mu, beta, added
        self.excites = np.full((self.number, self.number), cross)
        np.fill_diagonal(self.excites, alpha)

    def draw(self, rng: np.random.Generator) -> tuple[list[float], list[int]]:
        """See `SimulatedEvents.draw`: thinning (Ogata 1981), as λ falls until the next event."""
        times: list[float] = []
        kinds: list[int] = []
        t, excited = 0.0, np.zeros(self.number)
        while True:
            bound = self.number * self.mu + excited.sum()
            gap = rng.exponential(1 / bound)
            t, excited = t + gap, excited * np.exp(-self.beta * gap)
            if t >= self.duration:
                return times, kinds
            chosen = int(np.searchsorted(np.cumsum(self.mu + excited), rng.random() * bound))
            if chosen < self.number:
                refuse_more(times)
                times.append(t)
                kinds.append(chosen)
                excited = excited + self.excites[:, chosen]

    def rates(self, times: Array, kinds: Kinds, at: Array, past: npt.NDArray[np.bool_]) -> Array:
        """See `SimulatedEvents.rates`."""
        left = np.where(past, np.exp(-self.beta * np.abs(at[:, None] - times)), 0.0)
        rates: Array = self.mu + left @ self.excites[:, kinds].T
        return rates

    def likelihood(self, times: Array, kinds: Kinds, end: float) -> float:
        """See `SimulatedEvents.likelihood`; Ozaki 1979, eq. 4, for each kind."""
        total, last, excited = 0.0, 0.0, np.zeros(self.number)
        for t, kind in zip(times, kinds, strict=True):
            excited = excited * np.exp(-self.beta * (t - last))
            total += np.log(self.mu + excited[kind])
            excited, last = excited + self.excites[:, kind], t
        gone = self.added / self.beta * (1 - np.exp(-self.beta * (end - times))).sum()
        return float(total - self.number * self.mu * end - gone)
