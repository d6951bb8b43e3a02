"""The trigonometric path (Albergo & Vanden-Eijnden 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Coefficients, Path


class VariancePreservingCFM(Path):
    """x_t = cos(πt/2) x₀ + sin(πt/2) x₁ + σε: with σ = 0 the variance stays that of its ends.

    Args:
        sigma: Constant spread σ.
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        angle = 0.5 * math.pi * t
        return Coefficients(torch.cos(angle), torch.sin(angle), torch.full_like(t, self.sigma))

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`."""
        angle = 0.5 * math.pi * t
        half = 0.5 * math.pi
        return Coefficients(-half * torch.sin(angle), half * torch.cos(angle), torch.zeros_like(t))
