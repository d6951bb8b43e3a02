"""What the stable neural SDEs share (Oh, Lim and Kim 2024): equations that see a path."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.solvers import ControlPath, SolveStats
from integrand.spec import Classes, Spec, Targets

from ..stochastic.stable_equations import Langevin
from .base import Said, SeriesFamily
from .controls import Interpolation, SeriesControl
from .initial import Initial
from .lockstep_sde import Gradient, PathNormals, solve_lockstep
from .perceptron import perceptron

SEED = 0
"""Of the paths that evaluation averages."""


class Drift(nn.Module):
    """γ(t, z̄) with z̄ = tanh(ζ [z; X(t)]), bounded since every hidden layer is.

    Args:
        channels: Length of z.
        path: Channels of X.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
        tells_time: Whether γ is told the time beside z̄.
    """

    def __init__(self, channels: int, path: int, hidden: int, depth: int, tells_time: bool) -> None:
        super().__init__()
        self.tells_time = tells_time
        self.merge = nn.Linear(channels + path, channels)
        self.net = perceptron(channels + int(tells_time), hidden, channels, depth, nn.Tanh)

    def forward(self, t: Tensor, z: Tensor, x: Tensor) -> Tensor:
        """Shape of z; t of shape (batch, 1)."""
        merged = torch.tanh(self.merge(torch.cat((z, x), dim=1)))
        value: Tensor = self.net(torch.cat((merged, t), dim=1) if self.tells_time else merged)
        return value


class DrivenSDE(Langevin):
    """dz = γ(z̄) dt + σ(t) dW on one batch; a `KnotSDE`.

    Args:
        drift: γ, called as `drift(t, z, X(t))`.
        diffusion: σ, called with t of shape (batch, 1).
        path: X.
        z0: State at the first knot.
        noisy: Whether there is noise at all.
    """

    def __init__(
        self, drift: nn.Module, diffusion: nn.Module, path: ControlPath, z0: Tensor, noisy: bool
    ) -> None:
        super().__init__(drift, diffusion, z0, noisy)
        self.path = path
        self._x = path.starts[0]

    def enter(self, interval: int, place: float) -> None:
        """See `KnotSDE`."""
        self._x = self.path.starts[interval]
        for power, slope in enumerate(self.path.slopes, start=1):
            if place > 0:
                self._x = self._x + place**power / power * slope[interval]

    def gamma(self, t: Tensor, z: Tensor) -> Tensor:
        """γ at a state and the present place of the path."""
        value: Tensor = self.drift(t, z, self._x)
        return value


class StableSDEFamily(SeriesFamily):
    """A stochastic equation whose drift sees a path through the observations; subclasses say which equation.

    Training follows one path of the noise. Evaluation follows the drift alone, or averages paths.

    Args:
        spec: What the data set publishes.
        channels: Length of z.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers of the drift.
        interpolation: The path through the observations; see `NeuralCDE`.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        duration: What the longest series lasts in units of the equation.
        steps: Steps of the Euler–Maruyama method between two observations.
        samples: Paths over which evaluation averages; 0 for the drift alone.
        gradient: `backprop` keeps the graph of every step, `checkpoint` one state for each step.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: A number is out of its domain.
    """

    group = "series"
    answers = (Classes, Targets)
    stochastic = True
    makes: ClassVar[type[DrivenSDE]]
    """The equation."""
    tells_time: ClassVar[bool] = True
    """Whether γ is told the time beside z̄."""

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        depth: int = 1,
        interpolation: Interpolation = "natural_cubic",
        counts: bool | None = None,
        duration: float = 4.0,
        steps: int = 1,
        samples: int = 0,
        gradient: Gradient = "backprop",
        **kwargs: Any,
    ) -> None:
        if steps < 1 or samples < 0 or not duration > 0:
            raise UsageError(
                f"steps={steps}, samples={samples}, duration={duration}",
                "set model.steps to 1 or more, model.samples to 0 or more, model.duration above 0",
            )
        super().__init__(spec, channels, **kwargs)
        self.control = SeriesControl(self.spec, interpolation, counts)
        self.initial = Initial(self.spec, self.control.observed, channels)
        self.field = Drift(channels, self.control.channels, hidden, depth, self.tells_time)
        self.diffusion = perceptron(1, hidden, channels, 1, nn.Tanh)
        self.steps, self.samples, self.gradient = steps, samples, gradient
        self.unit = self.control.observed.unit / duration

    def read(self, x: Series) -> Said:
        """The state at the last observation, in evaluation the mean over paths; see `SeriesFamily.read`."""
        paths = 1 if self.training else max(1, self.samples)
        z, stats = self.ends(x, paths, None if self.training else SEED)
        return z.mean(dim=0), [stats]

    @property
    def components(self) -> int | None:
        """As many as one asks for where evaluation follows paths; see `FamilyModule.components`."""
        return None if self.samples > 0 else 1

    def drawn(self, x: Series, count: int, times: Tensor | None) -> Said:
        """What single paths say; see `SeriesFamily.drawn`."""
        z, stats = self.ends(x, count, None)
        return self.head(z), [stats] * count

    def ends(self, x: Series, paths: int, seed: int | None) -> tuple[Tensor, SolveStats]:
        """States of paths at the last observation, (paths, batch, channels), and the account of the solve.

        Args:
            x: What is given.
            paths: How many of each series.
            seed: Of noise that all series share; None for noise of each one's own, from torch's generator.
        """
        path = self.control(x)
        z0 = self.initial(x, path.starts[0])
        knots = self.knots(x)
        if paths > 1:
            everyone = torch.arange(len(x), device=z0.device).repeat(paths)
            path, z0, knots = path[everyone], z0[everyone], knots[everyone]
        noise = None if seed is None else PathNormals(paths, len(x), z0, seed)
        sde = self.makes(self.field, self.diffusion, path, z0, self.training or self.samples > 0)
        solution = solve_lockstep(sde, knots, sde.begin, self.steps, self.gradient, noise)
        z = sde.state(solution.ys[-1])
        return z.view(paths, len(x), -1), solution.stats

    def knots(self, x: Series) -> Tensor:
        """Times of the path's knots since the first, in units of the equation."""
        passed = (x.times - x.times[:, :1]) / self.unit
        if self.control.knots_per_gap == 1:
            return passed
        # first the time goes on, then the values jump
        return passed.repeat_interleave(2, dim=1)[:, 1:]
