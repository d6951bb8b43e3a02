"""DDPM's discrete steps, continued between them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_ascending, require_choice, require_positive

from .base import VariancePreserving

Betas = Literal["linear", "scaled-linear", "cosine"]


class DiscreteVP(VariancePreserving):
    """ᾱ_k = ∏_{i≤k} (1 − β_i), k = 0 … N−1 (Ho et al. 2020, Eq. 4); step k lies at t = (k + 1)/N.

    Between the steps, and from α = 1 at t = 0 to the first, log α is linear in t (Lu et al. 2022, App. D.2).

    Args:
        betas: `linear` in β, `scaled-linear` in √β (latent diffusion), or `cosine` in ᾱ (Nichol & Dhariwal
            2021, β at most 0.999; beta_min and beta_max then do not count). A sequence is the β_k themselves.
        num_steps: N; of a sequence its length.
        beta_min: β_0.
        beta_max: β_{N−1}.
        zero_terminal_snr: Shift and scale √ᾱ so that its first value stays and its last is 0 (Lin et al.
            2024, Alg. 1). The noise then says nothing of the data at the last step: the model must predict v
            or data.

    Raises:
        UsageError: A β does not lie in (0, 1), or they are fewer than two.
    """

    t_max = 1.0

    def __init__(
        self,
        betas: Betas | Sequence[float] = "linear",
        num_steps: int = 1000,
        beta_min: float = 1e-4,
        beta_max: float = 0.02,
        zero_terminal_snr: bool = False,
    ) -> None:
        if isinstance(betas, str):
            require_choice("betas", betas, ("linear", "scaled-linear", "cosine"))
            require_positive(num_steps=num_steps, beta_min=beta_min, beta_max=beta_max)
            require_ascending(strict=False, beta_min=beta_min, beta_max=beta_max)
            if not isinstance(num_steps, int):
                raise UsageError(f"num_steps={num_steps!r}", "it is a whole number, such as 1000")
            table, self.kind = _betas(betas, num_steps, beta_min, beta_max), str(betas)
            self._range = "" if betas == "cosine" else f" {beta_min:g}-{beta_max:g}"
        else:
            table, self.kind = torch.tensor(list(betas), dtype=torch.float64), "table"
            self._range = " " + hashlib.sha256(table.numpy().tobytes()).hexdigest()[:8]
        log_alpha = _log_alpha(table)
        if zero_terminal_snr:
            log_alpha, self._range = _without_last_signal(log_alpha), f"{self._range} zero-snr"
        self.num_steps, self.t_min = len(table), 1.0 / len(table)
        self._minus_log_alpha = torch.cat((torch.zeros(1, dtype=torch.float64), -log_alpha))

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
        """Log α(t), interpolated linearly; where the last α is 0, α itself in the last interval."""
        table, left, u = self._locate(t)
        low, high = table[left], table[left + 1]
        share = u - left
        if self._minus_log_alpha[-1] < torch.inf:
            return -low - share * (high - low)
        linear = torch.log1p(-share.clamp(max=1.0))
        return -low + torch.where(high.isinf(), linear, -share * (high - low).nan_to_num(posinf=0.0))

    def drift(self, t: Tensor) -> Tensor:
        """D log α/dt, constant between steps; at a step that of the interval towards the data."""
        table, left, u = self._locate(t)
        slope = table[left + 1] - table[left]
        return -self.num_steps * torch.where(slope.isinf(), 1 / (1 - (u - left)).clamp_min(0.0), slope)

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""
        value = (-log_alpha).contiguous()
        table = self._minus_log_alpha.to(value)
        left = (torch.searchsorted(table, value) - 1).clamp(0, self.num_steps - 1)
        gap, width = value - table[left], table[left + 1] - table[left]
        share = torch.where(width.isinf(), -torch.expm1(-gap), gap / width)
        return (left + share) / self.num_steps

    def _locate(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = t * self.num_steps
        # t = k/N times N may exceed k by a rounding: the slack keeps step k in its own interval
        left = (torch.ceil(u - 1e-6) - 1).clamp(0, self.num_steps - 1).long()
        return self._minus_log_alpha.to(t), left, u

    def describe(self) -> str:
        """Such as `ddpm linear 1000 0.0001-0.02`."""
        return f"ddpm {self.kind} {self.num_steps}{self._range}"


def _log_alpha(betas: Tensor) -> Tensor:
    """Log α_k = ½ Σ log(1 − β_i); −∞ at the last step where its β is 1."""
    if len(betas) < 2 or not bool(((betas > 0) & (betas <= 1)).all() and (betas[:-1] < 1).all()):
        listed = ", ".join(f"{b:g}" for b in betas[[0, -1]].tolist()) if len(betas) else "none"
        raise UsageError(
            f"{len(betas)} values of β ({listed}) make no process",
            "give two or more, above 0 and below 1; the last may be 1",
        )
    return 0.5 * torch.log1p(-betas).cumsum(0)


def _without_last_signal(log_alpha: Tensor) -> Tensor:
    """Log of √ᾱ, shifted and scaled (Lin et al. 2024, Alg. 1)."""
    alpha = log_alpha.exp()
    first, last = alpha[0], alpha[-1]
    return ((alpha - last) * (first / (first - last))).log()


def _betas(kind: Betas, n: int, low: float, high: float) -> Tensor:
    if kind == "linear":
        return torch.linspace(low, high, n, dtype=torch.float64)
    if kind == "scaled-linear":
        return torch.linspace(math.sqrt(low), math.sqrt(high), n, dtype=torch.float64).square()
    u = torch.arange(n + 1, dtype=torch.float64) / n
    alpha_bar = torch.cos((u + 0.008) / 1.008 * (math.pi / 2)).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp_max(0.999)
