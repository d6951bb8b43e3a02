"""The stable neural SDEs on a hidden state: drifts that see their start, noise of a learned strength."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import Solution

from ..series.lockstep_sde import Gradient
from ..series.perceptron import perceptron
from .in_depth import DepthSDE
from .stable_equations import Geometric, Langevin, LinearNoise

EQUATIONS: dict[str, type[Langevin]] = {
    "langevin": Langevin,
    "linear-noise": LinearNoise,
    "geometric": Geometric,
}
HIDDEN = 32
"""Width of the hidden layer of the strength."""


class Merged(nn.Module):
    """γ(t, z̄), z̄ = tanh(A z + B z₀ + b), A and B over the channels: in depth the path X stands still.

    Args:
        field: γ, called as `field(t, z̄)`.
        channels: Channels of z.
    """

    def __init__(self, field: nn.Module, channels: int) -> None:
        super().__init__()
        self.field = field
        self.merge = nn.Linear(2 * channels, channels)

    def forward(self, t: Tensor, z: Tensor, z0: Tensor) -> Tensor:
        """Shape of z, (batch, channels, …)."""
        both = torch.cat((z, z0), dim=1).movedim(1, -1)
        value: Tensor = self.field(t, torch.tanh(self.merge(both)).movedim(-1, 1))
        return value


class Strength(nn.Module):
    """σ(t) of each channel, a perceptron of the time times a scale.

    Args:
        channels: Channels of z.
        axes: Axes of z behind its channels.
        scale: The factor; 0 for no noise.
    """

    def __init__(self, channels: int, axes: int, scale: float) -> None:
        super().__init__()
        self.net = perceptron(1, HIDDEN, channels, 1, nn.Tanh)
        self.axes, self.scale = axes, scale

    def forward(self, t: Tensor) -> Tensor:
        """Shape (1, channels, 1, …); t is 0-d."""
        like = next(self.net.parameters())
        value: Tensor = self.scale * self.net(t.to(like).view(1, 1))
        return value.view(1, -1, *[1] * self.axes)


class From(nn.Module):
    """`drift(t, z, z0)` as a function of t and z.

    Args:
        drift: The drift.
        z0: Where the batch began.
    """

    def __init__(self, drift: nn.Module, z0: Tensor) -> None:
        super().__init__()
        self.drift, self.z0 = drift, z0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """The drift at z."""
        value: Tensor = self.drift(t, z, self.z0)
        return value


class StableDynamics(DepthSDE):
    """Solves a stable equation on [0, t1] in equal steps of Euler–Maruyama; without noise in evaluation.

    Args:
        field: γ.
        channels: Channels of the state.
        axes: Axes of the state behind its channels.
        diffusion: Which equation: `langevin`, `linear-noise` or `geometric`.
        sigma: Scale of the learned strength σ(t), 0 or more.
        t1: End of the interval, positive.
        num_steps: Number of steps.
        gradient: How the solve is differentiated.
        noisy_evaluation: Whether evaluation solves the stochastic equation too.

    Raises:
        UsageError: A number is out of its domain.
    """

    def __init__(
        self,
        field: nn.Module,
        channels: int,
        axes: int,
        diffusion: str,
        sigma: float,
        t1: float,
        num_steps: int,
        gradient: Gradient,
        noisy_evaluation: bool,
    ) -> None:
        if not 0 <= sigma < math.inf or not t1 > 0 or num_steps < 1:
            raise UsageError(
                f"sigma={sigma}, t1={t1}, num_steps={num_steps}",
                "set model.sigma to 0 or more, model.t1 above 0 and model.num_steps to 1 or more",
            )
        super().__init__(channels, t1, num_steps, gradient, noisy_evaluation)
        self.equation = EQUATIONS[diffusion]
        self.drift = Merged(field, channels)
        self.strength = Strength(channels, axes, sigma)

    def residuals(self) -> list[nn.Module]:
        """The drift."""
        return [self.drift.field]

    def solve(self, h: Tensor, times: list[float] | Tensor) -> Solution:
        """See `DepthSDE.solve`."""
        sde = self.equation(From(self.drift, h), self.strength, h, self.noisy)
        solver = self.scheme if self.noisy else self.drift_alone
        solution = solver.solve(sde, sde.begin, times)
        return replace(solution, ys=sde.state(solution.ys))
