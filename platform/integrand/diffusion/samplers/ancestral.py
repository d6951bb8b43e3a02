"""Ancestral sampling, DDPM's."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from integrand.solvers.options import require_choice

from .base import Run, Sampler
from .transfer import combine, forward_variance, posterior_std


class Ancestral(Sampler):
    """The mean of q(x_b | x_a, x̂_0) plus noise (Ho et al. 2020, Eq. 6–7 and Sec. 3.2).

    Args:
        variance: `posterior` takes the variance β̃ of q(x_b | x_a, x_0), right for point masses; `beta` that
            of the forward step from b to a, right for unit Gaussians.
    """

    order = 1
    stochastic = True

    def __init__(self, variance: Literal["posterior", "beta"] = "posterior") -> None:
        require_choice("variance", variance, ("posterior", "beta"))
        self.variance = variance

    @classmethod
    def examples(cls) -> tuple[Ancestral, ...]:
        """Both variances."""
        return cls("posterior"), cls("beta")

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b = run.nodes[i], run.nodes[i + 1]
        forward = forward_variance(a, b)
        data = run.evaluate(x, a).data()
        std = posterior_std(a, b) if self.variance == "posterior" else math.sqrt(forward)
        kept = a.alpha / b.alpha * (b.sigma / a.sigma) ** 2
        return combine(kept, x, (b.alpha * forward / a.sigma**2, data), (std, run.normals(i)))

    def describe(self) -> str:
        """Such as `ddpm posterior`."""
        return f"ddpm {self.variance}"
