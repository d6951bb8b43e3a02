"""The variance-exploding process."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive

from .base import Process


class VE(Process):
    """dx = s(t) √(2 ln(s_max/s_min)) dW with s(t) = s_min (s_max/s_min)^t (Song et al. 2021, App. C).

    Given x_0 the variance is exactly s(t)² − s_min², zero at t = 0; published code uses s(t)².

    Args:
        sigma_min: s(0).
        sigma_max: s(1).
        t_min: Time nearest to the data.
    """

    variance = "exploding"
    t_max = 1.0

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0, t_min: float = 1e-5) -> None:
        require_positive(sigma_min=sigma_min, sigma_max=sigma_max, t_min=t_min)
        require_ascending(sigma_min=sigma_min, sigma_max=sigma_max)
        require_ascending(t_min=t_min, t_max=self.t_max)
        self.sigma_min, self.sigma_max, self.t_min = sigma_min, sigma_max, t_min
        self._log_ratio = math.log(sigma_max / sigma_min)

    def log_alpha(self, t: Tensor) -> Tensor:
        """0: the signal is not scaled."""
        return torch.zeros_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """√(s(t)² − s_min²)."""
        return self.sigma_min * torch.expm1(2 * self._log_ratio * t).clamp_min(0.0).sqrt()

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process.time`."""
        return torch.log1p((-2 * log_snr).exp() / self.sigma_min**2) / (2 * self._log_ratio)

    def drift(self, t: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)

    def diffusion2(self, t: Tensor) -> Tensor:
        """2 ln(s_max/s_min) s(t)²."""
        return 2 * self._log_ratio * self.sigma_min**2 * torch.exp(2 * self._log_ratio * t)

    def label(self, t: Tensor) -> Tensor:
        """Log σ(t), as NCSN++ embeds it."""
        return self.sigma(t).log()

    def describe(self) -> str:
        """Such as `ve 0.01-50`."""
        return f"ve {self.sigma_min:g}-{self.sigma_max:g}"
