"""Lorenz's model of convection, with and without noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from integrand.errors import UsageError

from .base import SystemDataModule
from .cards import LORENZ, STOCHASTIC_LORENZ
from .generate import Array


def lorenz(x: Array) -> Array:
    """(10(y − x), x(28 − z) − y, xy − 8z/3) of states (…, 3) (Lorenz 1963, eqs. 25–27)."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], axis=-1)


class Lorenz(SystemDataModule):
    """Lorenz's equations at σ = 10, ρ = 28, β = 8/3; starts have run onto the attractor.

    Errors grow by e in about 1.1 units of time. Beyond 20 units not even the reference is exact.

    Args:
        **kwargs: See `SystemDataModule`.
    """

    card = LORENZ
    names = ("x", "y", "z")
    span = 3.0
    warm_up = 5.0

    def rhs(self, t: float, x: Array) -> Array:
        """See `SystemDataModule.rhs`."""
        return lorenz(x)

    def start(self, rng: np.random.Generator, n: int) -> Array:
        """See `SystemDataModule.start`."""
        x = np.array([0.0, 0.0, 25.0]) + rng.uniform(-10, 10, (n, 3))
        onto: Array = super().solve(x, np.array([0.0, self.warm_up]))[:, -1]
        return onto

    def lyapunov(self) -> float:
        """0.9056 (Sprott 2003, Chaos and Time-Series Analysis)."""
        return 0.9056


class StochasticLorenz(Lorenz):
    """dX = f(X) dt + α ⊙ X dW with α = (0.1, 0.28, 0.3) (Li et al. 2020, section 9.9.2), in Itô's sense.

    By Euler's method in steps of `step` at most: the law of the discrete path is what is to be learned.

    Args:
        step: Longest step in units of t.
        **kwargs: See `SystemDataModule`.
    """

    card = STOCHASTIC_LORENZ
    span = 2.0

    def __init__(self, step: float = 0.001, **kwargs: Any) -> None:
        if not step > 0:
            raise UsageError(f"step={step} goes nowhere", "set data.step to a positive number")
        self.step = step
        super().__init__(**kwargs)

    def settings(self) -> dict[str, Any]:
        """See `SystemDataModule.settings`."""
        return {"step": self.step}

    def solve(self, starts: Array, times: Array) -> Array:
        """One path from each start."""
        rng = np.random.Generator(np.random.PCG64([len(starts), self.data_seed, 20200107]))
        alpha, x, seen = np.array([0.1, 0.28, 0.3]), starts, [starts]
        for gap in np.diff(times):
            steps = max(1, int(np.ceil(gap / self.step - 1e-9)))
            h = gap / steps
            for _ in range(steps):
                x = x + h * lorenz(x) + alpha * x * np.sqrt(h) * rng.standard_normal(x.shape)
            seen.append(x)
        return np.stack(seen, axis=1)
