"""The sub-variance-preserving process."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive

from .base import Process
from .linear_beta import LinearBeta


class SubVP(Process):
    """dx = −½β x dt + √(β(1 − e^{−2∫β})) dW, σ = 1 − e^{−∫β} (Song et al. 2021, Eq. 12 and 29).

    Args:
        beta_min: β(0).
        beta_max: β(1).
        t_min: Time nearest to the data.
    """

    variance = "sub-preserving"
    t_max = 1.0

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0, t_min: float = 1e-3) -> None:
        require_positive(t_min=t_min)
        require_ascending(t_min=t_min, t_max=self.t_max)
        self.schedule = LinearBeta(beta_min, beta_max)
        self.t_min = t_min

    def log_alpha(self, t: Tensor) -> Tensor:
        """Log α(t), that of `VP`."""
        return self.schedule.log_alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        """1 − α(t)²."""
        return -torch.expm1(2 * self.log_alpha(t))

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process.time`; σ/α = 2 sinh(−log α)."""
        return self.schedule.time(torch.asinh(0.5 * torch.exp(-log_snr)))

    def drift(self, t: Tensor) -> Tensor:
        """−½β(t)."""
        return -0.5 * self.schedule.beta(t)

    def diffusion2(self, t: Tensor) -> Tensor:
        """β(t) (1 − α⁴)."""
        return -self.schedule.beta(t) * torch.expm1(4 * self.log_alpha(t))

    def prior_std(self, t: float | None = None) -> float:
        """1, as for `VP`."""
        return 1.0

    def describe(self) -> str:
        """Such as `sub-vp linear 0.1-20`."""
        return f"sub-vp linear {self.schedule.beta_min:g}-{self.schedule.beta_max:g}"
