"""Linear β, which VP and sub-VP share."""

from __future__ import annotations

from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive


class LinearBeta:
    """β(t) = β_min + (β_max − β_min) t on [0, 1], as log α = −½∫β and its inverse.

    Args:
        beta_min: β(0).
        beta_max: β(1).
    """

    def __init__(self, beta_min: float, beta_max: float) -> None:
        require_positive(beta_min=beta_min, beta_max=beta_max)
        require_ascending(strict=False, beta_min=beta_min, beta_max=beta_max)
        self.beta_min, self.beta_max = beta_min, beta_max

    def beta(self, t: Tensor) -> Tensor:
        """β(t)."""
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def log_alpha(self, t: Tensor) -> Tensor:
        """−½∫_0^t β."""
        return -0.25 * (self.beta_max - self.beta_min) * t * t - 0.5 * self.beta_min * t

    def time(self, minus_log_alpha: Tensor) -> Tensor:
        """T at which −log α has the given value; the root without cancellation."""
        a, b = 0.25 * (self.beta_max - self.beta_min), 0.5 * self.beta_min
        return 2 * minus_log_alpha / (b + (b * b + 4 * a * minus_log_alpha).sqrt())
