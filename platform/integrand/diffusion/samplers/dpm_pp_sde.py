"""DPM++ SDE: two ancestral stages on one Brownian path."""

from __future__ import annotations

import math

from torch import Tensor

from ..processes import Node
from .ancestral_step import require_eta, split
from .base import Run, Sampler
from .transfer import combine


class DPMSolverPPSDE(Sampler):
    """k-diffusion's DPM++ SDE: an ancestral step to the middle in λ, then one over the whole step with its
    data.

    The noise of both is of one Brownian path in ρ: with z₁ over [ρ_a, ρ_s] and z₂ over [ρ_s, ρ_b], that of
    the whole step is (√(ρ_a − ρ_s) z₁ + √(ρ_s − ρ_b) z₂)/√(ρ_a − ρ_b). Its weak order, measured on Gaussian
    data, is 2.

    Args:
        eta: η, from 0, which is DPM-Solver++(2S), to 1.
    """

    order = 2
    evaluations_per_step = 2
    draws_per_step = 2
    off_grid = True

    def __init__(self, eta: float = 1.0) -> None:
        require_eta(eta)
        self.eta, self.stochastic = eta, eta > 0

    @classmethod
    def examples(cls) -> tuple[DPMSolverPPSDE, ...]:
        """With noise and without."""
        return cls(), cls(0.0)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        middle = run.process.node_at(0.5 * (a.log_snr + b.log_snr))
        first, whole = self._noise(run, i, a, middle, b)
        inner = self._ancestral(x, a, middle, run.evaluate(x, a).data(), first)
        return self._ancestral(x, a, b, run.evaluate(inner, middle).data(), whole)

    def _ancestral(self, x: Tensor, a: Node, b: Node, data: Tensor, noise: Tensor | None) -> Tensor:
        down, up = split(a, b, self.eta)
        kept = down / a.rho
        terms = [(b.alpha * (1 - kept), data)]
        if noise is not None:
            terms.append((b.alpha * up, noise))
        return combine(kept * b.alpha / a.alpha, x, *terms)

    def _noise(
        self, run: Run, i: int, a: Node, middle: Node, b: Node
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if not self.stochastic:
            return None, None
        first, second = run.normals(2 * i), run.normals(2 * i + 1)
        share = (a.rho - middle.rho) / (a.rho - b.rho)
        return first, combine(math.sqrt(share), first, (math.sqrt(1 - share), second))

    def describe(self) -> str:
        """Such as `dpm++ sde`."""
        return "dpm++ sde" + (f" eta={self.eta:g}" if self.eta != 1 else "")
