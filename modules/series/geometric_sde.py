"""Neural geometric SDE (Oh, Lim and Kim 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from .stable_sde import DrivenSDE, StableSDEFamily


class Geometric(DrivenSDE):
    """dz = z γ(t, z̄) dt + σ(t) z dW as z = z₀ eʸ, dy = (γ − σ²/2) dt + σ dW by Itô's formula.

    So components keep their sign at any step, and the noise is additive.
    """

    @property
    def begin(self) -> Tensor:
        """Y = 0."""
        return torch.zeros_like(self.z0)

    def state(self, y: Tensor) -> Tensor:
        """See `DrivenSDE.state`."""
        return self.z0 * y.exp()

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift of y."""
        return super().f(t, y) - self.sigma(t, y).square() / 2


class GeometricSDE(StableSDEFamily):
    """Drift and noise in proportion to the state, as in geometric Brownian motion: signs never change.

    Args:
        spec: What the data set publishes; the command line fills it in.
        **kwargs: See `StableSDEFamily`.
    """

    family = "geometric-sde"
    title = "Neural GSDE"
    equation = "dz/z = γ(t, z̄; θ) dt + σ(t; θ) dW, z̄ = ζ(z, X(t); θ)"
    reference = "Oh, Lim and Kim 2024, Stable Neural Stochastic Differential Equations"
    makes = Geometric
