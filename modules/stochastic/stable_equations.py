"""The stable stochastic equations of Oh, Lim and Kim 2024, whatever their states and their drift are."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Langevin(nn.Module):
    """dz = γ(t, z) dt + σ(t) dW on one batch.

    What is integrated may be another quantity than z: `begin` is its start, and `state` leads from it to z.

    Args:
        drift: γ, called as `drift(t, z)`.
        diffusion: σ, called with the time; its value fits z.
        z0: State at the start, shape (batch, channels, …).
        noisy: Whether there is noise at all.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, drift: nn.Module, diffusion: nn.Module, z0: Tensor, noisy: bool) -> None:
        super().__init__()
        self.drift, self.diffusion, self.z0, self.noisy = drift, diffusion, z0, noisy

    @property
    def begin(self) -> Tensor:
        """What is integrated, at the start."""
        return self.z0

    def state(self, y: Tensor) -> Tensor:
        """z, of what is integrated; times may stand in front."""
        return y

    def gamma(self, t: Tensor, z: Tensor) -> Tensor:
        """γ at a state."""
        value: Tensor = self.drift(t, z)
        return value

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift, as a field by itself."""
        return self.f(t, y)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift of what is integrated."""
        return self.gamma(t, self.state(y))

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion of what is integrated."""
        return self.sigma(t, y)

    def sigma(self, t: Tensor, y: Tensor) -> Tensor:
        """σ(t), shape of y."""
        return self.diffusion(t).expand_as(y) if self.noisy else torch.zeros_like(y)


class LinearNoise(Langevin):
    """dz = γ(t, z) dt + σ(t) z dW."""

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, in proportion to the state."""
        return self.sigma(t, y) * y


class Geometric(Langevin):
    """dz = z γ(t, z) dt + σ(t) z dW as z = z₀ eʸ, dy = (γ − σ²/2) dt + σ dW by Itô's formula.

    So components keep their sign at any step, and the noise is additive.
    """

    @property
    def begin(self) -> Tensor:
        """Y = 0."""
        return torch.zeros_like(self.z0)

    def state(self, y: Tensor) -> Tensor:
        """See `Langevin.state`."""
        return self.z0 * y.exp()

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift of y."""
        return super().f(t, y) - self.sigma(t, y).square() / 2
