"""Stochastic interpolants: paths that are noisy between their ends (Albergo et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError

from .base import Coefficients, Path


class LinearInterpolant(Path):
    """x_t = (1 − t) x₀ + t x₁ + γ(t) ε, γ = σ√(2t(1 − t)) (Albergo et al. 2023).

    Args:
        sigma: σ, positive.
        margin: Distance of the times of training from 0 and 1, where γ̇ is infinite.

    Raises:
        UsageError: sigma is not positive, or margin is out of range.
    """

    def __init__(self, sigma: float = 1.0, margin: float = 1e-3) -> None:
        super().__init__(sigma)
        if not sigma > 0:
            raise UsageError(
                "an interpolant without noise has no score", "take IndependentCFM, or sigma above 0"
            )
        if not 0 < margin < 0.5:
            raise UsageError(f"margin must lie in (0, 0.5), got {margin}", "set model.path.margin: 0.001")
        self.margin = margin

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        return Coefficients(1 - t, t, self.sigma * torch.sqrt(2 * t * (1 - t)))

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`; γ̇ is infinite at both ends."""
        return Coefficients(-torch.ones_like(t), torch.ones_like(t), self._spread_rate(t))

    def _spread_rate(self, t: Tensor) -> Tensor:
        return self.sigma * (1 - 2 * t) / torch.sqrt(2 * t * (1 - t))


class TrigonometricInterpolant(LinearInterpolant):
    """x_t = cos(πt/2) x₀ + sin(πt/2) x₁ + γ(t) ε, γ = σ√(2t(1 − t)) (Albergo et al. 2023).

    Args:
        sigma: σ, positive.
        margin: Distance of the times of training from 0 and 1, where γ̇ is infinite.
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        angle = math.pi / 2 * t
        return Coefficients(torch.cos(angle), torch.sin(angle), super().coefficients(t).spread)

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`; γ̇ is infinite at both ends."""
        angle, rate = math.pi / 2 * t, math.pi / 2
        return Coefficients(-rate * torch.sin(angle), rate * torch.cos(angle), self._spread_rate(t))
