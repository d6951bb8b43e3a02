"""Second-order neural ODE (Norcliffe et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER, ODEDynamics


class SecondOrderField(nn.Module):
    """ḧ = f(t, [h; ḣ]) as the first-order system ḣ = v, v̇ = f(t, [h; v]).

    Args:
        f: Module called as `f(t, y)` with the state y = [h; v], returning h's shape.
    """

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state [h; v], concatenated along dimension 1."""
        return torch.cat([y.chunk(2, dim=1)[1], self.f(t, y)], dim=1)


class SecondOrderNeuralODE(BenchFamily):
    """Neural ODE of second order: f accelerates and sees position and velocity; the head reads the position.

    It is the augmented neural ODE with as many augmented channels as channels, whose first half of the field
    is fixed to the velocity and whose augmented channels start at a learned v(0) = g(h(0)).

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state h; the solver integrates twice as many.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "second-order-neural-ode"
    title = "Second-order neural ODE"
    group = "continuous"
    equation = "ḣ = v, v̇ = f(h, v, t; θ), v(0) = g(h(0))"
    reference = "Norcliffe et al. 2020, On Second Order Behaviour in Augmented Neural ODEs"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            width = stage.channels
            f = stage.field(2 * width, out_channels=width, time_dependent=time_dependent)
            return ODEDynamics(SecondOrderField(f), solver, t1, width, stage.momentum(width))

        super().__init__(spec, make, channels=channels, **kwargs)
