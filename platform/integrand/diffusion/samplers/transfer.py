"""Exact solutions of the linear part from one node to another, with Python-float coefficients."""

from __future__ import annotations

import math

from torch import Tensor

from ..processes import Node


def combine(a: float, x: Tensor, *terms: tuple[float, Tensor]) -> Tensor:
    """A x + Σ c y, one new tensor and no other."""
    out = x * a
    for c, y in terms:
        if c:
            out.add_(y, alpha=c)
    return out


def with_noise(x: Tensor, noise: Tensor, a: Node, b: Node) -> Tensor:
    """From a to b at constant ε: x_b = (α_b/α_a) x − σ_b (e^h − 1) ε, h = λ_b − λ_a (DDIM, DPM-Solver-1)."""
    return with_noises(x, a, b, (1.0, noise))


def with_noises(x: Tensor, a: Node, b: Node, *terms: tuple[float, Tensor]) -> Tensor:
    """The same with ε = Σ c y, which gets no tensor of its own."""
    factor = -b.alpha * a.rho if b.sigma == 0 else -b.sigma * math.expm1(b.log_snr - a.log_snr)
    return combine(b.alpha / a.alpha, x, *((factor * c, y) for c, y in terms))


def with_data(x: Tensor, data: Tensor, a: Node, b: Node) -> Tensor:
    """From a to b at constant x_0: x_b = (σ_b/σ_a) x − α_b (e^{−h} − 1) x_0, the same map written by x_0."""
    return combine(b.sigma / a.sigma, x, (-b.alpha * math.expm1(a.log_snr - b.log_snr), data))


def forward_variance(a: Node, b: Node) -> float:
    """Variance of x_a given x_b for a noisier than b: σ_a² − (α_a/α_b)² σ_b²."""
    return -(a.sigma**2) * math.expm1(2 * (a.log_snr - b.log_snr))


def posterior_std(a: Node, b: Node) -> float:
    """Standard deviation of x_b given x_a and x_0: σ_b √(1 − e^{−2h})."""
    return b.sigma * math.sqrt(-math.expm1(2 * (a.log_snr - b.log_snr)))
