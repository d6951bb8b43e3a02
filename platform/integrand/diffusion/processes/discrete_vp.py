"""DDPM's discrete steps, continued between them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice, require_positive

from .base import VariancePreserving

Betas = Literal["linear", "scaled-linear", "cosine"]


class DiscreteVP(VariancePreserving):
    """ᾱ_k = ∏_{i≤k} (1 − β_i), k = 0 … N−1 (Ho et al. 2020, Eq. 4); step k lies at t = (k + 1)/N.

    Between the steps, and from α = 1 at t = 0 to the first, log α is linear in t (Lu et al. 2022, App. D.2).

    Args:
        betas: `linear` in β, `scaled-linear` in √β (latent diffusion), or `cosine` in ᾱ (Nichol & Dhariwal
            2021, β at most 0.999; beta_min and beta_max then do not count).
        num_steps: N.
        beta_min: β_0.
        beta_max: β_{N−1}.
    """

    t_max = 1.0

    def __init__(
        self,
        betas: Betas = "linear",
        num_steps: int = 1000,
        beta_min: float = 1e-4,
        beta_max: float = 0.02,
    ) -> None:
        require_choice("betas", betas, ("linear", "scaled-linear", "cosine"))
        require_positive(num_steps=num_steps, beta_min=beta_min, beta_max=beta_max)
        self._range = "" if betas == "cosine" else f" {beta_min:g}-{beta_max:g}"
        self.num_steps, self.kind, self.t_min = num_steps, betas, 1.0 / num_steps
        steps = -0.5 * torch.log1p(-_betas(betas, num_steps, beta_min, beta_max))
        self._minus_log_alpha = torch.cat((torch.zeros(1, dtype=torch.float64), steps.cumsum(0)))

    def index(self, t: Tensor) -> Tensor:
        """The step k at t, fractional between steps, −1 at the data."""
        return self.num_steps * t - 1

    def time_of_index(self, k: Tensor) -> Tensor:
        """T of step k; −1 is the data."""
        return (k.to(torch.float64) + 1) / self.num_steps

    def label(self, t: Tensor) -> Tensor:
        """The step k at t, which DDPM networks are told."""
        return self.index(t)

    def log_alpha(self, t: Tensor) -> Tensor:
        """Log α(t), interpolated linearly."""
        table, left, u = self._locate(t)
        low, high = table[left], table[left + 1]
        return -(low + (u - left) * (high - low))

    def drift(self, t: Tensor) -> Tensor:
        """D log α/dt, constant between steps; at a step that of the interval towards the data."""
        table, left, _ = self._locate(t)
        return -self.num_steps * (table[left + 1] - table[left])

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""
        value = (-log_alpha).contiguous()
        table = self._minus_log_alpha.to(value)
        left = (torch.searchsorted(table, value) - 1).clamp(0, self.num_steps - 1)
        return (left + (value - table[left]) / (table[left + 1] - table[left])) / self.num_steps

    def _locate(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = t * self.num_steps
        # t = k/N times N may exceed k by a rounding: the slack keeps step k in its own interval
        left = (torch.ceil(u - 1e-6) - 1).clamp(0, self.num_steps - 1).long()
        return self._minus_log_alpha.to(t), left, u

    def describe(self) -> str:
        """Such as `ddpm linear 1000 0.0001-0.02`."""
        return f"ddpm {self.kind} {self.num_steps}{self._range}"


def _betas(kind: Betas, n: int, low: float, high: float) -> Tensor:
    if kind == "linear":
        return torch.linspace(low, high, n, dtype=torch.float64)
    if kind == "scaled-linear":
        return torch.linspace(math.sqrt(low), math.sqrt(high), n, dtype=torch.float64).square()
    u = torch.arange(n + 1, dtype=torch.float64) / n
    alpha_bar = torch.cos((u + 0.008) / 1.008 * (math.pi / 2)).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp_max(0.999)
