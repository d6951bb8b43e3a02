"""Symplectic recurrent neural network (Chen et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from integrand.solvers import ODESolver
from integrand.solvers.symplectic import Leapfrog, SeparableField
from integrand.spec import Spec

from ..bench import Stage
from ..bench.dynamics import Reach
from ..continuous.ode import ODEDynamics
from ..defaults import default
from .mechanics import Energy, EnergyFamily, degrees_of_freedom, gradient

LEAPFROG: ODESolver = default(Leapfrog, step_size=0.1)
"""The paper's method and step."""


class LearnedSeparableField(SeparableField):
    """q̇ = ∇K(p), ṗ = −∇V(q): two learned energies, each of one half of the state.

    Args:
        kinetic: K, called as `kinetic(t, p)`, one number for each sample, shape (batch, 1).
        potential: V, called as `potential(t, q)`, likewise.
    """

    def __init__(self, kinetic: nn.Module, potential: nn.Module) -> None:
        super().__init__()
        self.kinetic, self.potential = kinetic, potential

    def velocity(self, t: Tensor, p: Tensor) -> Tensor:
        """∇K at p, shape (batch, d)."""
        return gradient(lambda x: self.kinetic(t, x), p)

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        """−∇V at q, shape (batch, d)."""
        return -gradient(lambda x: self.potential(t, x), q)


class SeparableDynamics(ODEDynamics):
    """ODE dynamics of a `LearnedSeparableField`, whose force is what a symplectic method evaluates."""

    reaches: ClassVar[Reach] = "common"

    def residuals(self) -> list[nn.Module]:
        """V: a kick is one evaluation, and the drift that goes with it is part of it."""
        assert isinstance(self.field, LearnedSeparableField)
        return [self.field.potential]


class SymplecticNN(EnergyFamily):
    """Learned separable energy H = K(p) + V(q), trained through the steps of a symplectic method.

    Every step keeps areas of phase space whatever the weights are, and what is learned includes the error of
    the steps: on the step size of training, forecasts are better than those of the exact flow of K + V.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the state [q; p], by default those of the data.
        solver: What integrates the field: `Leapfrog`, `Yoshida4` or `Yoshida6`; any other is no symplectic
            network.
        t1: End of the interval [0, t1] of a pass without times.
        angles: Channels of q that are angles in radians, from 0; V sees their cosine and sine.
        **kwargs: See `BenchFamily`.
    """

    family = "symplectic-nn"
    title = "Symplectic recurrent neural network"
    equation = "q̇ = ∇K(p; θ), ṗ = −∇V(q; θ) by leapfrog steps inside the loss"
    reference = "Chen et al. 2020, Symplectic Recurrent Neural Networks, eq. 5"

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        solver: ODESolver = LEAPFROG,
        t1: float = 1.0,
        angles: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        def make(stage: Stage) -> SeparableDynamics:
            d = degrees_of_freedom(stage.channels, "momenta")
            field = LearnedSeparableField(Energy(stage.field, d), Energy(stage.field, d, angles))
            return SeparableDynamics(field, solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
