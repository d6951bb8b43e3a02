"""DPM-Solver++(2S) with fresh noise after every step."""

from __future__ import annotations

import math

from torch import Tensor

from .ancestral_step import marked, require_eta, split
from .base import Run, Sampler
from .transfer import combine


class DPMSolverPP2SAncestral(Sampler):
    """DPM-Solver++(2S) at r = ½ down to ρ_down, then noise: k-diffusion's DPM++ 2S ancestral.

    y_s = (ρ_s/ρ_a) y + (1 − ρ_s/ρ_a) D_a, then the same to ρ_down with D_s, y = x/α (Lu et al. 2022,
    DPM-Solver++, Alg. 1). At η = 0 it is DPM-Solver++(2S) with a whole interval for each step.

    Args:
        eta: η, from 0, deterministic, to 1, ancestral.
    """

    order = 2
    evaluations_per_step = 2

    def __init__(self, eta: float = 1.0) -> None:
        require_eta(eta)
        self.eta, self.stochastic = eta, eta > 0
        # at η = 1 the middle is the step's end: √(ρ_a ρ_down) = ρ_b
        self.off_grid = eta < 1

    @classmethod
    def examples(cls) -> tuple[DPMSolverPP2SAncestral, ...]:
        """Ancestral, between, and deterministic."""
        return cls(), cls(0.5), cls(0.0)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        down, up = split(a, b, self.eta)
        middle = run.process.node_at(0.5 * (a.log_snr - math.log(down)))
        kept = middle.rho / a.rho
        inner = combine(
            kept * middle.alpha / a.alpha, x, (middle.alpha * (1 - kept), run.evaluate(x, a).data())
        )
        kept = down / a.rho
        terms = [(b.alpha * (1 - kept), run.evaluate(inner, middle).data())]
        if up:
            terms.append((b.alpha * up, run.normals(i)))
        return combine(kept * b.alpha / a.alpha, x, *terms)

    def describe(self) -> str:
        """Such as `dpm-solver++ 2S whole ancestral`; `whole` because a step spans one interval."""
        return marked("dpm-solver++ 2S whole", self.eta)
