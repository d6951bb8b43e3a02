"""Generalised heavy-ball neural ODE (Xia et al. 2021)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .heavy_ball_neural_ode import HeavyBallField
from .ode import DEFAULT_SOLVER, ODEDynamics

Activation = Literal["tanh", "hardtanh", "identity"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
}


class GeneralizedHeavyBallField(HeavyBallField):
    """ḣ = σ(m), ṁ = −γm + f(t, h) − ξh on the state [h; m], with γ = sigmoid(ω) and ξ = softplus(χ) learned.

    σ bounds the velocity, |h(t) − h(0)| ≤ t max|σ|, and ξ pulls back to the origin. The volume contracts
    at rate γ still, because neither term is on the diagonal of the Jacobian. With σ = id and ξ = 0 it is the
    heavy ball.

    Args:
        f: Module called as `f(t, h)`, returning h's shape.
        gamma_init: Initial damping γ in (0, 1).
        xi_init: Initial restoring coefficient ξ; 0 leaves the term out.
        activation: σ: `tanh`, `hardtanh` (both bounded by 1) or `identity`.
        learn_xi: Whether ξ is learned; it keeps its initial value otherwise.

    Raises:
        UsageError: gamma_init is outside (0, 1), xi_init is negative, or σ is unknown.
    """

    def __init__(
        self,
        f: nn.Module,
        gamma_init: float,
        xi_init: float,
        activation: Activation = "tanh",
        learn_xi: bool = True,
    ) -> None:
        super().__init__(f, gamma_init)
        if not (xi_init >= 0 and math.isfinite(xi_init)):
            raise UsageError(f"xi_init must be 0 or more, got {xi_init}", "set model.xi_init")
        if activation not in ACTIVATIONS:
            raise UsageError(
                f"unknown activation {activation!r}",
                f"set model.activation to one of {', '.join(ACTIVATIONS)}",
            )
        self.sigma = ACTIVATIONS[activation]()
        # the inverse of softplus, written so that neither end overflows
        chi = xi_init + math.log(-math.expm1(-xi_init)) if xi_init else None
        self.chi = None if chi is None else nn.Parameter(torch.tensor(chi), requires_grad=learn_xi)

    @property
    def xi(self) -> Tensor | None:
        """Restoring coefficient ξ, a positive 0-d tensor; None where the term is left out."""
        return None if self.chi is None else nn.functional.softplus(self.chi)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate at the scalar t and the state [h; m], concatenated along dimension 1."""
        h, m = y.chunk(2, dim=1)
        force = self.f(t, h) - self.gamma * m
        xi = self.xi
        return torch.cat([self.sigma(m), force if xi is None else force - xi * h], dim=1)


class GeneralizedHeavyBallNeuralODE(BenchFamily):
    """Heavy-ball neural ODE with bounded velocity and a restoring force, so that h cannot blow up.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state h; the solver integrates twice as many.
        gamma_init: Initial damping γ in (0, 1); the default is sigmoid(−3), the authors' start.
        xi_init: Initial restoring coefficient ξ, 0 or more; 0 leaves the term out. The default is the
            coefficient of the authors' CIFAR runs, which keep it fixed.
        activation: σ: `tanh`, `hardtanh` or `identity`.
        learn_xi: Whether ξ is learned; it keeps its initial value otherwise.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "generalized-heavy-ball-neural-ode"
    title = "Generalised heavy-ball neural ODE"
    group = "continuous"
    equation = "ḣ = σ(m), ṁ = −γm + f(h, t; θ) − ξh, γ = sigmoid(ω), ξ = softplus(χ)"
    reference = "Xia et al. 2021, Heavy Ball Neural Ordinary Differential Equations"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        gamma_init: float = 0.0474,
        xi_init: float = 1.5,
        activation: Activation = "tanh",
        learn_xi: bool = True,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> ODEDynamics:
            width = stage.channels
            f = stage.field(width, time_dependent=time_dependent)
            field = GeneralizedHeavyBallField(f, gamma_init, xi_init, activation, learn_xi)
            return ODEDynamics(field, solver, t1, width, stage.momentum(width))

        super().__init__(spec, make, channels=channels, **kwargs)
