"""The process of EDM: time is the noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive

from .base import Process


class EDM(Process):
    """α = 1, σ(t) = t, so dx = √(2t) dW (Karras et al. 2022, Table 1).

    Args:
        sigma_min: Noise level nearest to the data, and t_min.
        sigma_max: Noise level of the prior, and t_max.
    """

    variance = "exploding"

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        require_positive(sigma_min=sigma_min, sigma_max=sigma_max)
        require_ascending(sigma_min=sigma_min, sigma_max=sigma_max)
        self.t_min, self.t_max = sigma_min, sigma_max

    @property
    def last_time(self) -> float:
        """Infinite: churn may exceed the prior's level."""
        return math.inf

    def log_alpha(self, t: Tensor) -> Tensor:
        """0: the signal is not scaled."""
        return torch.zeros_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """T."""
        return t.clone()

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process.time`."""
        return torch.exp(-log_snr)

    def drift(self, t: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(t)

    def diffusion2(self, t: Tensor) -> Tensor:
        """2t."""
        return 2 * t

    def label(self, t: Tensor) -> Tensor:
        """¼ ln σ, the c_noise of Karras et al. 2022, Table 1."""
        return 0.25 * t.log()

    def describe(self) -> str:
        """Such as `edm 0.002-80`."""
        return f"edm {self.t_min:g}-{self.t_max:g}"
