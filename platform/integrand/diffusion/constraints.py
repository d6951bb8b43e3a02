"""What may be done to a predicted x_0 before a sampler uses it; off unless asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_positive


class DataConstraint(ABC):
    """Changes x_0; samplers then take the noise that belongs to the changed x_0."""

    @abstractmethod
    def __call__(self, x0: Tensor) -> Tensor:
        """The constrained x_0, shape (batch, ...)."""


class Clip(DataConstraint):
    """Clamps x_0 to [−limit, limit].

    Args:
        limit: Largest magnitude; 1 for images scaled to [−1, 1].
    """

    def __init__(self, limit: float = 1.0) -> None:
        require_positive(limit=limit)
        self.limit = limit

    def __call__(self, x0: Tensor) -> Tensor:
        """See `DataConstraint`."""
        return x0.clamp(-self.limit, self.limit)


class DynamicThreshold(DataConstraint):
    """Clamps to a quantile s of |x_0| of each sample and divides by it, s ≥ limit (Saharia et al. 2022).

    Args:
        quantile: Which quantile.
        limit: Range that the result lies in.
        maximum: Largest s.
    """

    def __init__(self, quantile: float = 0.995, limit: float = 1.0, maximum: float | None = None) -> None:
        require_positive(quantile=quantile, limit=limit, maximum=maximum)
        if quantile > 1 or (maximum is not None and maximum < limit):
            raise UsageError(
                f"quantile={quantile:g}, limit={limit:g}, maximum={maximum}",
                "the quantile is at most 1, the maximum at least the limit",
            )
        self.quantile, self.limit, self.maximum = quantile, limit, maximum

    def __call__(self, x0: Tensor) -> Tensor:
        """See `DataConstraint`."""
        level = x0.flatten(1).abs().float().quantile(self.quantile, dim=1).to(x0.dtype)
        level = level.clamp(self.limit, self.maximum).view(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-level, level) * (self.limit / level)
