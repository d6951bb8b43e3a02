"""The reverse-diffusion sampler of score SDEs."""

from __future__ import annotations

import math

from torch import Tensor

from .base import Run, Sampler
from .transfer import combine, forward_variance


class ReverseDiffusion(Sampler):
    """(2 − α_a/α_b) x + v s + √v z with v the forward variance from b to a (Song et al. 2021, App. E).

    The forward step is the exact transition, which for VP is DDPM's and for VE σ_a² − σ_b².
    """

    order = 1
    stochastic = True

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        variance = forward_variance(a, b)
        score = run.evaluate(x, a).score()
        return combine(2 - a.alpha / b.alpha, x, (variance, score), (math.sqrt(variance), run.normals(i)))

    def describe(self) -> str:
        """`reverse-diffusion`."""
        return "reverse-diffusion"
