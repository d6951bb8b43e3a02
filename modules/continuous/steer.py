"""Neural ODE with a random end time (Ghosh et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver, Solution
from integrand.spec import Classes, Spec, Targets

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER, ODEDynamics


class RandomEndDynamics(ODEDynamics):
    """Solves to T ~ U(t1 − b, t1 + b) while training, one draw for each batch and stage; else to t1.

    Args:
        field: Module called as `field(t, y)`.
        solver: What integrates it.
        t1: Mean end of the interval.
        channels: Channels of the state.
        b: Half the width of the distribution, 0 ≤ b < t1.

    Raises:
        UsageError: b is outside [0, t1).
    """

    def __init__(self, field: nn.Module, solver: ODESolver, t1: float, channels: int, b: float) -> None:
        super().__init__(field, solver, t1, channels)
        if not 0 <= b < t1:
            raise UsageError(
                f"b must lie in [0, t1) = [0, {t1}), got {b}", "set model.b, half the width of the end times"
            )
        self.b = b

    def forward(self, h: Tensor, num_times: int = 2) -> Solution:
        """Solve from the stem's output; see `Dynamics.forward`."""
        if not (self.training and self.b):
            return super().forward(h, num_times)
        end = self.t1 + self.b * (2 * torch.rand((), dtype=torch.float64).item() - 1)
        times = [end * i / (num_times - 1) for i in range(num_times)]
        return self.solver.solve(self.field, h, times)


class STEER(BenchFamily):
    """Neural ODE trained with a random end time, so that trajectories have to settle and do not stiffen.

    With `b: 0`, and in evaluation always, it is the neural ODE.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        b: Half the width of the end times, 0 ≤ b < t1.
        solver: What integrates the field.
        t1: Mean end of the interval, and its end in evaluation.
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "steer"
    title = "Neural ODE with random end time (STEER)"
    group = "continuous"
    equation = "ḣ = f(h, t; θ) on [0, T], T ~ U(t1 − b, t1 + b)"
    reference = "Ghosh et al. 2020, STEER: Simple Temporal Regularization for Neural ODEs"
    uses_solver = True
    stochastic = True
    answers = (Classes, Targets)  # a forecast says when it is for

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        b: float = 0.25,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> RandomEndDynamics:
            field = stage.field(stage.channels, time_dependent=time_dependent)
            return RandomEndDynamics(field, solver, t1, stage.channels, b)

        super().__init__(spec, make, channels=channels, **kwargs)
