"""The two equations of an SDE-GAN: one makes paths of noise, the other reads paths (Kidger et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.solvers import CDESolver, Heun, ReversibleHeunSDE, SolveStats, linear_control

from .matrix_field import MatrixField
from .perceptron import perceptron


class LipSwish(nn.Module):
    """0.909 x σ(x), whose slope is 1 at most (Chen et al. 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return 0.909 * F.silu(x)


class GeneratorSDE(nn.Module):
    """dX = μ(t, X) dt + σ(t, X) ∘ dW with general noise, in Stratonovich's sense.

    Args:
        channels: Length of X.
        noise: Components of W.
        hidden: Width of hidden layers.
        depth: Number of hidden layers.
    """

    noise_type = "general"
    sde_type = "stratonovich"

    def __init__(self, channels: int, noise: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.noise = noise
        self.drift = perceptron(1 + channels, hidden, channels, depth, LipSwish, nn.Tanh)
        self.diffusion = perceptron(1 + channels, hidden, channels * noise, depth, LipSwish, nn.Tanh)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """Drift, shape of y."""
        value: Tensor = self.drift(self._told(t, y))
        return value

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """Diffusion, shape (batch, channels, noise)."""
        value: Tensor = self.diffusion(self._told(t, y))
        return value.view(*y.shape, self.noise)

    @staticmethod
    def _told(t: Tensor, y: Tensor) -> Tensor:
        return torch.cat((t.to(y).expand(len(y), 1), y), dim=1)


class Generator(nn.Module):
    """Paths from noise: X(0) = ζ(V), V ~ N(0, I), then the equation, then a linear map.

    Args:
        outputs: Values of one observation.
        times: Times of the observations, float64, shape (n,).
        channels: Length of X.
        noise: Components of W.
        initial_noise: Length of V.
        hidden: Width of hidden layers.
        depth: Number of hidden layers.
    """

    def __init__(
        self,
        outputs: int,
        times: Tensor,
        channels: int,
        noise: int,
        initial_noise: int,
        hidden: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.initial_noise, self.times = initial_noise, times.tolist()
        self.initial = perceptron(initial_noise, hidden, channels, depth, LipSwish)
        self.sde = GeneratorSDE(channels, noise, hidden, depth)
        self.readout = nn.Linear(channels, outputs)
        self.solver = ReversibleHeunSDE(num_steps=max(len(self.times) - 1, 1))
        with torch.no_grad():
            # the authors' start: spread at first, slow afterwards
            for p in self.initial.parameters():
                p.mul_(3.0)
            for p in self.sde.parameters():
                p.mul_(0.5)

    def forward(self, n: int, seed: int | None = None) -> tuple[Tensor, SolveStats]:
        """Paths of shape (n, length, outputs), and the account of the solve.

        Args:
            n: How many.
            seed: Seed of all that is random; torch's generator where None.
        """
        weight = self.readout.weight
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        v = torch.randn(n, self.initial_noise, generator=draw).to(weight)
        solution = self.solver.solve(self.sde, self.initial(v), self.times, seed=seed)
        said: Tensor = self.readout(solution.ys).transpose(0, 1)
        return said, solution.stats


class Critic(nn.Module):
    """A score of each path: H(0) = ξ(Y(0)), dH = f(H) d(t, Y), then a linear map.

    Args:
        inputs: Values of one observation.
        times: Times of the observations, float64, shape (n,).
        channels: Length of H.
        hidden: Width of hidden layers.
        depth: Number of hidden layers.
    """

    def __init__(self, inputs: int, times: Tensor, channels: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.times = times
        self.initial = perceptron(1 + inputs, hidden, channels, depth, LipSwish)
        self.field = MatrixField(channels, 1 + inputs, hidden, depth, LipSwish)
        # an offset would count for data and samples alike
        self.readout = nn.Linear(channels, 1, bias=False)
        self.solver = CDESolver(Heun(num_steps=1))

    def forward(self, y: Tensor) -> tuple[Tensor, SolveStats]:
        """Scores of shape (n,) of paths (n, length, inputs), and the account of the solve."""
        t = self.times.to(y).expand(len(y), -1).unsqueeze(-1)
        control = linear_control(torch.cat((t, y), dim=-1), self.times)
        solution = self.solver.solve(self.field, control, self.initial(control.starts[0]))
        said: Tensor = self.readout(solution.ys[-1]).squeeze(-1)
        return said, solution.stats

    @torch.no_grad()
    def clip(self) -> None:
        """Every entry of a weight matrix into ±1/rows, so that no layer stretches in the 1-norm."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = 1 / layer.out_features
                layer.weight.clamp_(-bound, bound)
