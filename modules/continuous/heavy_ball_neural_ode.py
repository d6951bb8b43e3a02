"""Heavy-ball neural ODE (Xia et al. 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER, ODEDynamics


class HeavyBallField(nn.Module):
    """ḣ = m, ṁ = −γm + f(t, h) on the state [h; m], with γ = sigmoid(ω) learned.

    For any f the flow contracts volume at the rate γ per dimension: log|det ∂(h,m)(T)/∂(h,m)(0)| = −γ d T.

    Args:
        f: Module called as `f(t, h)`, returning h's shape.
        gamma_init: Initial damping γ in (0, 1).

    Raises:
        UsageError: gamma_init is outside (0, 1).
    """

    def __init__(self, f: nn.Module, gamma_init: float) -> None:
        super().__init__()
        if not 0 < gamma_init < 1:
            raise UsageError(
                f"gamma_init must lie strictly between 0 and 1, got {gamma_init}", "set model.gamma_init"
            )
        self.f = f
        self.omega = nn.Parameter(torch.tensor(math.log(gamma_init / (1 - gamma_init))))

    @property
    def gamma(self) -> Tensor:
        """Damping γ, a 0-d tensor in (0, 1)."""
        return torch.sigmoid(self.omega)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state [h; m], concatenated along dimension 1."""
        h, m = y.chunk(2, dim=1)
        return torch.cat([m, self.f(t, h) - self.gamma * m], dim=1)


class HeavyBallNeuralODE(BenchFamily):
    """Neural ODE with momentum: a damped second-order equation, of which the head reads the position h.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state h; the solver integrates twice as many.
        gamma_init: Initial damping γ in (0, 1); the default is sigmoid(−3), the authors' start.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "heavy-ball-neural-ode"
    title = "Heavy-ball neural ODE"
    group = "continuous"
    equation = "ḣ = m, ṁ = −γm + f(h, t; θ), γ = sigmoid(ω)"
    reference = "Xia et al. 2021, Heavy Ball Neural Ordinary Differential Equations"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        gamma_init: float = 0.0474,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            width = stage.channels
            field = HeavyBallField(stage.field(width, time_dependent=time_dependent), gamma_init)
            return ODEDynamics(field, solver, t1, width, stage.momentum(width))

        super().__init__(spec, make, channels=channels, **kwargs)
