"""DDIM with any η."""

from __future__ import annotations

import math

from torch import Tensor

from integrand.errors import UsageError

from .base import Run, Sampler
from .transfer import combine, posterior_std, with_noise


class DDIM(Sampler):
    """x_b = α_b x̂_0 + √(σ_b² − s²) ε + s z, s = η times the posterior's deviation (Song et al. 2020, Eq. 12).

    η = 0 is deterministic, and is DPM-Solver-1 and exponential Euler; η = 1 is DDPM with posterior variance.

    Args:
        eta: η, from 0 to 1.
    """

    order = 1

    def __init__(self, eta: float = 0.0) -> None:
        if not 0 <= eta <= 1:
            raise UsageError(f"eta must lie in [0, 1], not {eta:g}", "0 is deterministic, 1 is DDPM")
        self.eta = eta
        self.stochastic = eta > 0

    @classmethod
    def examples(cls) -> tuple[DDIM, ...]:
        """Deterministic, between, and DDPM."""
        return cls(0.0), cls(0.5), cls(1.0)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        prediction = run.evaluate(x, a)
        if not self.eta:
            return with_noise(x, prediction.noise(), a, b)
        std = self.eta * posterior_std(a, b)
        rest = math.sqrt(b.sigma**2 - std**2)
        # x_0 eliminated: α_b (x − σ_a ε)/α_a + rest ε
        scale = b.alpha / a.alpha
        return combine(scale, x, (rest - scale * a.sigma, prediction.noise()), (std, run.normals(i)))

    def describe(self) -> str:
        """Such as `ddim` or `ddim eta=0.5`."""
        return f"ddim eta={self.eta:g}" if self.eta else "ddim"
