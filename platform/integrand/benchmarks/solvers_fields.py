"""Fields and stochastic fields on which solvers are timed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Problem:
    """A field with an initial state.

    Args:
        name: Short name for tables.
        field: The field, or an SDE with methods f and g.
        y0: Initial state, shape (batch, ...).
    """

    name: str
    field: nn.Module
    y0: Tensor


class TwoLayers(nn.Module):
    """Layer, tanh, layer; weights scaled up so that dopri5 takes about ten steps over [0, 2].

    Args:
        first: First layer.
        second: Second layer.
        scale: Factor on all initial weights.
    """

    def __init__(self, first: nn.Module, second: nn.Module, scale: float) -> None:
        super().__init__()
        self.first, self.second = first, second
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(scale)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The field, which does not depend on t."""
        value: Tensor = self.second(torch.tanh(self.first(y)))
        return value


class DiagonalSDE(nn.Module):
    """dy = f(y) dt + g(y) dW with two small networks and diagonal Itô noise.

    Args:
        width: Size of the state.
        hidden: Size of the hidden layers.
    """

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.drift = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.diffusion = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift."""
        value: Tensor = self.drift(y)
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, one entry for each component."""
        value: Tensor = self.diffusion(y)
        return value


def ode_problems(seed: int) -> list[Problem]:
    """The four fields: two MLPs and two pairs of convolutions."""
    torch.manual_seed(seed)

    def conv(channels: int) -> nn.Module:
        return nn.Conv2d(channels, channels, 3, padding=1)

    return [
        Problem("tiny", TwoLayers(nn.Linear(2, 64), nn.Linear(64, 2), 3.0), torch.randn(256, 2)),
        Problem("mlp", TwoLayers(nn.Linear(64, 256), nn.Linear(256, 64), 3.0), torch.randn(256, 64)),
        Problem("conv7", TwoLayers(conv(64), conv(64), 2.0), torch.randn(64, 64, 7, 7)),
        Problem("conv28", TwoLayers(conv(16), conv(16), 2.0), torch.randn(32, 16, 28, 28)),
    ]


def sde_problems(seed: int) -> list[Problem]:
    """A small and a larger SDE, batch 256."""
    torch.manual_seed(seed)
    return [
        Problem("sde8", DiagonalSDE(8, 64), torch.randn(256, 8)),
        Problem("sde64", DiagonalSDE(64, 256), torch.randn(256, 64)),
    ]
