"""Adam-type neural ODE (Cho et al. 2022)."""

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

EPSILON = 1e-8


class AdamField(nn.Module):
    """ḣ = −m/√(softplus(v) + ε), ṁ = β₁(−f − m), v̇ = β₂(f² − v) on [h; m; v], with βᵢ = sigmoid(αᵢ) learned.

    For constant f both moments relax exponentially, m → −f and v → f², so that ḣ → f/√(softplus(f²) + ε):
    bounded, but not the sign of f, because softplus(0) = ln 2. With v held still it is a heavy ball in h and
    −m/s, s = √(softplus(v) + ε), with γ = β₁ and force β₁f/s.

    Args:
        f: Module called as `f(t, h)`, returning h's shape.
        beta1_init: Initial rate β₁ of the first moment, in (0, 1).
        beta2_init: Initial rate β₂ of the second moment, in (0, 1).

    Raises:
        UsageError: A rate is outside (0, 1).
    """

    def __init__(self, f: nn.Module, beta1_init: float, beta2_init: float) -> None:
        super().__init__()
        for name, rate in (("beta1_init", beta1_init), ("beta2_init", beta2_init)):
            if not 0 < rate < 1:
                raise UsageError(f"{name} must lie strictly between 0 and 1, got {rate}", f"set model.{name}")
        self.f = f
        self.alpha1 = nn.Parameter(torch.tensor(math.log(beta1_init / (1 - beta1_init))))
        self.alpha2 = nn.Parameter(torch.tensor(math.log(beta2_init / (1 - beta2_init))))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state [h; m; v], concatenated along dimension 1."""
        h, m, v = y.chunk(3, dim=1)
        f = self.f(t, h)
        return torch.cat(
            [
                -m / torch.sqrt(nn.functional.softplus(v) + EPSILON),
                torch.sigmoid(self.alpha1) * (-f - m),
                torch.sigmoid(self.alpha2) * (f**2 - v),
            ],
            dim=1,
        )


class MomentsLift(nn.Module):
    """[h; m(0); v(0)] with v(0) = m(0)², as the authors do.

    Args:
        momentum: Makes [h; m(0)].
    """

    def __init__(self, momentum: nn.Module) -> None:
        super().__init__()
        self.momentum = momentum

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, ..., height, width) to (batch, 3 · channels of h, height, width)."""
        y: Tensor = self.momentum(h)
        return torch.cat([y, y.chunk(2, dim=1)[1] ** 2], dim=1)


class AdamNeuralODE(BenchFamily):
    """Neural ODE with two moments: the velocity is momentum over its running size; the head reads h.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state h; the solver integrates three times as many.
        beta1_init: Initial rate of the first moment in (0, 1); the default is the authors' sigmoid(−3).
        beta2_init: Initial rate of the second moment in (0, 1).
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "adam-neural-ode"
    title = "Adam-type neural ODE"
    group = "continuous"
    equation = "ḣ = −m/√(softplus(v)+ε), ṁ = β₁(−f(h, t; θ) − m), v̇ = β₂(f² − v), βᵢ = sigmoid(αᵢ)"
    reference = "Cho et al. 2022, AdamNODEs: When Neural ODE Meets Adaptive Moment Estimation"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        beta1_init: float = 0.0474,
        beta2_init: float = 0.0474,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            width = stage.channels
            field = AdamField(stage.field(width, time_dependent=time_dependent), beta1_init, beta2_init)
            return ODEDynamics(field, solver, t1, width, MomentsLift(stage.momentum(width)))

        super().__init__(spec, make, channels=channels, **kwargs)
