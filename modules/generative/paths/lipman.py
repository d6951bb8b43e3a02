"""The optimal-transport path of Lipman et al. (2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Coefficients, Path


class Lipman(Path):
    """x_t = t x₁ + (1 − (1 − σ) t) x₀, u_t = (x₁ − (1 − σ) x_t)/(1 − (1 − σ) t) (Lipman et al. 2023).

    The optimal transport between N(0, I) and N(x₁, σ²I) for each x₁, not between noise and data.

    Args:
        sigma: Spread around x₁ at t = 1.
    """

    def coefficients(self, t: Tensor) -> Coefficients:
        """See `Path.coefficients`."""
        return Coefficients(1 - (1 - self.sigma) * t, t, torch.zeros_like(t))

    def rates(self, t: Tensor) -> Coefficients:
        """See `Path.rates`; u_t = x₁ − (1 − σ) x₀."""
        return Coefficients(torch.full_like(t, self.sigma - 1), torch.ones_like(t), torch.zeros_like(t))

    @property
    def spreads(self) -> bool:
        """The noise x₀ itself is what spreads."""
        return False
