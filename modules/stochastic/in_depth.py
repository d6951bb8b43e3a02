"""Stochastic equations of a hidden state on [0, t1], with noise in training and on request in evaluation."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from integrand.solvers import Euler, EulerMaruyama, Milstein, Solution

from ..bench import Dynamics
from ..series.lockstep_sde import Gradient


class DepthSDE(Dynamics):
    """Solves an equation on [0, t1] in equal steps; subclasses say which one.

    Args:
        channels: Channels of the state.
        t1: End of the interval, positive.
        num_steps: Number of steps.
        gradient: How the solve is differentiated.
        noisy_evaluation: Whether evaluation solves the stochastic equation too, instead of its drift.
        scheme: Which method takes the noise.
    """

    repeats = True
    reaches = "common"

    def __init__(
        self,
        channels: int,
        t1: float,
        num_steps: int,
        gradient: Gradient,
        noisy_evaluation: bool,
        scheme: type[EulerMaruyama] | type[Milstein] = EulerMaruyama,
    ) -> None:
        super().__init__()
        self.out_channels, self.t1, self.num_steps = channels, t1, num_steps
        self.noisy_evaluation = noisy_evaluation
        self.scheme = scheme(num_steps=num_steps, gradient=gradient)
        self.drift_alone = Euler(num_steps=num_steps, gradient=gradient)

    @property
    def noisy(self) -> bool:
        """Whether there is noise in the present mode."""
        return self.training or self.noisy_evaluation

    @abstractmethod
    def solve(self, h: Tensor, times: list[float] | Tensor) -> Solution:
        """States at the times, from h at the first."""

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve along one path for each sample; see `Dynamics.forward`. Above 2 times: every step."""
        points = 1 if num_times == 2 else self.num_steps
        return self.solve(h, [self.t1 * i / points for i in range(points + 1)])

    def along(self, h: Tensor, times: Tensor) -> Solution:
        """Solve through all times; see `Dynamics.along`. A step ends at every time."""
        return self.solve(h, times)
