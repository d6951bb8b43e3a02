"""The straight path of flow matching as a noising process."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_ascending, require_positive

from .base import Process


class LinearFlow(Process):
    """x_t = (1 − t) x_0 + t ε (Liu et al. 2023, Eq. 1; Lipman et al. 2023, Eq. 22 with σ_min = 0).

    Its probability flow is dx/dt = E[ε − x_0 | x], so that DDIM is Euler's method on it. At t = 1 nothing of
    the data is left: models predict data, v or `FlowPrediction`.

    Args:
        t_min: Time nearest to the data.
        t_max: Time of the prior, at most 1.

    Raises:
        UsageError: t_max is above 1.
    """

    variance = "sub-preserving"

    def __init__(self, t_min: float = 1e-3, t_max: float = 1.0) -> None:
        require_positive(t_min=t_min)
        require_ascending(t_min=t_min, t_max=t_max)
        if t_max > 1:
            raise UsageError(f"t_max={t_max:g} lies beyond the noise", "the path ends at t = 1")
        self.t_min, self.t_max = t_min, t_max

    def log_alpha(self, t: Tensor) -> Tensor:
        """Log (1 − t)."""
        return torch.log1p(-t)

    def alpha(self, t: Tensor) -> Tensor:
        """1 − t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """T."""
        return t.clone()

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process.time`; λ = log((1 − t)/t)."""
        return torch.sigmoid(-log_snr)

    def drift(self, t: Tensor) -> Tensor:
        """−1/(1 − t)."""
        return -1 / (1 - t)

    def diffusion2(self, t: Tensor) -> Tensor:
        """2t/(1 − t)."""
        return 2 * t / (1 - t)

    def path_rates(self, t: float) -> tuple[float, float]:
        """−1 and 1."""
        return -1.0, 1.0

    def label(self, t: Tensor) -> Tensor:
        """1000 t, what published flow-matching networks are told."""
        return 1000 * t

    def prior_std(self, t: float | None = None) -> float:
        """1, the deviation at t = 1."""
        return 1.0 if t is None else super().prior_std(t)

    def describe(self) -> str:
        """`linear flow`."""
        return "linear flow"
