"""The variance-preserving process with a cosine α."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_ascending, require_positive

from .base import VariancePreserving


class CosineVP(VariancePreserving):
    """α(t) = cos(½π (t + s)/(1 + s)) / cos(½π s/(1 + s)) (Nichol & Dhariwal 2021, Eq. 17, square root).

    Args:
        s: Offset that keeps β away from zero near the data.
        t_max: Time of the prior, at most 1, where α vanishes and λ is −∞: sampling then needs a model that
            says something of the data there, such as one of v (0.9946: Lu et al. 2022).
        t_min: Time nearest to the data.
    """

    def __init__(self, s: float = 0.008, t_max: float = 0.9946, t_min: float = 1e-3) -> None:
        require_positive(t_min=t_min)
        require_ascending(t_min=t_min, t_max=t_max)
        if not (s >= 0 and t_max <= 1):
            raise UsageError(
                f"the cosine with s={s:g} up to t_max={t_max:g} leaves its first quarter turn",
                "s is at least 0, t_max at most 1",
            )
        self.s, self.t_max, self.t_min = s, t_max, t_min
        self._log_alpha0 = math.log(math.cos(self._rate * s))

    @property
    def _rate(self) -> float:
        return 0.5 * math.pi / (1 + self.s)

    def log_alpha(self, t: Tensor) -> Tensor:
        """Log α(t)."""
        return torch.cos(self._rate * (t + self.s)).log() - self._log_alpha0

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""
        return torch.acos((log_alpha + self._log_alpha0).exp().clamp_max(1.0)) / self._rate - self.s

    def drift(self, t: Tensor) -> Tensor:
        """D log α/dt."""
        return -self._rate * torch.tan(self._rate * (t + self.s))

    def describe(self) -> str:
        """Such as `vp cosine 0.008`."""
        return f"vp cosine {self.s:g}"
