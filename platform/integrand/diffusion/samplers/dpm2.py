"""DPM2 and DPM2 ancestral."""

from __future__ import annotations

import math

from torch import Tensor

from .ancestral_step import marked, require_eta, split
from .base import Run, Sampler
from .transfer import combine


class DPM2(Sampler):
    """The midpoint rule on dy/dρ = ε, y = x/α, with the midpoint at √(ρ_a ρ_down); then noise.

    The second-order sampler that k-diffusion names so, after DPM-Solver-2 (Lu et al. 2022, Alg. 1); η = 1 is
    its DPM2 ancestral.

    Args:
        eta: η, from 0, deterministic, to 1, ancestral.
    """

    order = 2
    evaluations_per_step = 2

    def __init__(self, eta: float = 0.0) -> None:
        require_eta(eta)
        self.eta, self.stochastic = eta, eta > 0
        # at η = 1 the middle is the step's end: √(ρ_a ρ_down) = ρ_b
        self.off_grid = eta < 1

    @classmethod
    def examples(cls) -> tuple[DPM2, ...]:
        """Deterministic, between, and ancestral."""
        return cls(), cls(0.5), cls(1.0)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        down, up = split(a, b, self.eta)
        middle = run.process.node_at(0.5 * (a.log_snr - math.log(down)))
        first = run.evaluate(x, a).noise()
        inner = combine(middle.alpha / a.alpha, x, (middle.alpha * (middle.rho - a.rho), first))
        second = run.evaluate(inner, middle).noise()
        terms = [(b.alpha * (down - a.rho), second)]
        if up:
            terms.append((b.alpha * up, run.normals(i)))
        return combine(b.alpha / a.alpha, x, *terms)

    def describe(self) -> str:
        """Such as `dpm2` or `dpm2 ancestral`."""
        return marked("dpm2", self.eta)
