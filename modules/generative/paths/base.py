"""The contract of a probability path: which pairs, which points between them, which velocity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from integrand.errors import UsageError


class Coefficients(NamedTuple):
    """Of x_t = noise · x₀ + data · x₁ + spread · ε, or their derivatives; each of the shape of t."""

    noise: Tensor
    data: Tensor
    spread: Tensor


class Path(ABC):
    """Gaussian conditional paths p_t(x | x₀, x₁) between noise x₀ at t = 0 and data x₁ at t = 1.

    The velocity is that of the point: u_t = d/dt x_t at fixed x₀, x₁ and ε.

    Args:
        sigma: Spread of the path, 0 or more; what it spreads depends on the path.

    Raises:
        UsageError: sigma is negative.
    """

    margin: float = 0.0
    """Times are drawn in [margin, 1 − margin]: where the velocity has a singularity at the ends."""

    def __init__(self, sigma: float = 0.0) -> None:
        if not sigma >= 0:
            raise UsageError(f"sigma must be 0 or more, got {sigma}", "set model.path.sigma")
        self.sigma = sigma

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """The coefficients of the path at t."""

    @abstractmethod
    def rates(self, t: Tensor) -> Coefficients:
        """Their derivatives with respect to t."""

    def couple(self, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of noise and data; independent unless the path says otherwise."""
        return x0, x1

    def times(self, n: int, like: Tensor) -> Tensor:
        """Times of training, uniform, shape (n,)."""
        return self.margin + (1 - 2 * self.margin) * torch.rand(n, dtype=like.dtype, device=like.device)

    def between(
        self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Points x_t and velocities u_t of pairs.

        Args:
            x0: Noise, shape (batch, …).
            x1: Data, shape (batch, …).
            t: Times, shape (batch,).
            noise: ε, shape of x0; drawn where omitted and wanted.

        Returns:
            Both of the shape of x0.
        """
        t = t.reshape(-1, *[1] * (x0.ndim - 1))
        at, by = self.coefficients(t), self.rates(t)
        x = at.noise * x0 + at.data * x1
        u = by.noise * x0 + by.data * x1
        if self.sigma > 0 and self.spreads:
            noise = torch.randn_like(x0) if noise is None else noise
            x = x + at.spread * noise
            u = u + by.spread * noise
        return x, u

    @property
    def spreads(self) -> bool:
        """Whether ε enters."""
        return True
