"""The variance-preserving process with linear β."""

from __future__ import annotations

from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive

from .base import VariancePreserving
from .linear_beta import LinearBeta


class VP(VariancePreserving):
    """dx = −½β(t) x dt + √β(t) dW with linear β (Song et al. 2021, Eq. 11).

    Args:
        beta_min: β(0).
        beta_max: β(1).
        t_min: Time nearest to the data.
    """

    t_max = 1.0

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0, t_min: float = 1e-3) -> None:
        require_positive(t_min=t_min)
        require_ascending(t_min=t_min, t_max=self.t_max)
        self.schedule = LinearBeta(beta_min, beta_max)
        self.t_min = t_min

    def log_alpha(self, t: Tensor) -> Tensor:
        """Log α(t)."""
        return self.schedule.log_alpha(t)

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""
        return self.schedule.time(-log_alpha)

    def drift(self, t: Tensor) -> Tensor:
        """−½β(t)."""
        return -0.5 * self.schedule.beta(t)

    def describe(self) -> str:
        """Such as `vp linear 0.1-20`."""
        return f"vp linear {self.schedule.beta_min:g}-{self.schedule.beta_max:g}"
