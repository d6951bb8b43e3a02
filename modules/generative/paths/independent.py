"""Independent conditional flow matching (Tong et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Coefficients, Path


class IndependentCFM(Path):
    """x_t = (1 − t) x₀ + t x₁ + σε, u_t = x₁ − x₀, x₀ and x₁ independent (Tong et al. 2024).

    With σ = 0 it is the path of rectified flow (Liu et al. 2023).

    Args:
        sigma: Constant spread σ.
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        return Coefficients(1 - t, t, torch.full_like(t, self.sigma))

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`."""
        return Coefficients(-torch.ones_like(t), torch.ones_like(t), torch.zeros_like(t))
