"""SEEDS: exponential Runge–Kutta for the reverse equation, by the noise."""

from __future__ import annotations

import math

from torch import Tensor

from integrand.solvers.options import require_choice

from ..processes import Node
from .base import Run, Sampler
from .exponential import tail
from .transfer import combine


class SEEDS(Sampler):
    """x_b = (α_b/α_a) x − 2σ_b [(e^h − 1) ε + ((e^h − 1)/h − 1) D1] + α_b ∫ √2 ρ dW, dW in λ.

    D1 is a difference of the stages' noise; stages lie at ½, or at ⅓ and ⅔ of the step in λ, and all of them
    see one Brownian path (Gonzalez et al. 2023, Alg. 1–3). SEEDS-1 is the first-order solver of the reverse
    equation by the noise, which is less stable than by the data: it needs short steps.

    Args:
        order: 1, 2 or 3, the stages. The weak order, measured on Gaussian data, is 1, 2 and 2.
    """

    stochastic = True

    def __init__(self, order: int = 3) -> None:
        require_choice("order", str(order), ("1", "2", "3"))
        self.stages, self.order = order, min(order, 2)
        self.evaluations_per_step = self.draws_per_step = order
        self.off_grid = order > 1

    @classmethod
    def examples(cls) -> tuple[SEEDS, ...]:
        """Every order."""
        return cls(1), cls(2), cls(3)

    def step(self, run: Run, i: int, x: Tensor) -> Tensor:
        """See `Sampler.step`."""
        a, b, k = run.nodes[i], run.nodes[i + 1], self.stages
        h = b.log_snr - a.log_snr
        nodes = [a, *(run.process.node_at(a.log_snr + h * j / k) for j in range(1, k)), b]
        draws = [run.normals(k * i + j) for j in range(k)]
        # increments of ∫ √2 ρ dW, whose variances are differences of ρ²
        path = [(math.sqrt(u.rho**2 - v.rho**2), z) for u, v, z in zip(nodes, nodes[1:], draws, strict=False)]
        first = run.evaluate(x, a).noise()
        if k == 1:
            return _advance(x, a, b, first, None, path)
        inner = _advance(x, a, nodes[1], first, None, path[:1])
        second = run.evaluate(inner, nodes[1]).noise()
        if k == 2:
            return _advance(x, a, b, second, None, path)
        inner = _advance(x, a, nodes[2], first, 2 * (second - first), path[:2])
        third = run.evaluate(inner, nodes[2]).noise()
        return _advance(x, a, b, first, 1.5 * (third - first), path)

    def describe(self) -> str:
        """Such as `seeds-3`."""
        return f"seeds-{self.stages}"


def _advance(
    x: Tensor, a: Node, b: Node, d0: Tensor, d1: Tensor | None, path: list[tuple[float, Tensor]]
) -> Tensor:
    """From a to b with the noise d0, its change over the step d1, and the path's increments up to b."""
    h = b.log_snr - a.log_snr
    terms = [(-2 * b.sigma * math.expm1(h), d0)]
    if d1 is not None:
        terms.append((-2 * b.sigma * tail(h, 1), d1))
    terms += [(b.alpha * std, z) for std, z in path]
    return combine(b.alpha / a.alpha, x, *terms)
