"""Augmented neural ODE (Dupont et al. 2019)."""

from __future__ import annotations

from typing import Any

from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER, Augment, ODEDynamics


class AugmentedNeuralODE(BenchFamily):
    """Neural ODE on [h; 0]: p further channels that start at zero give trajectories room to cross.

    With `augment: 0` it is the neural ODE. The head reads all channels, the augmented ones included.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state before augmentation.
        augment: Number p of zero channels appended.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "augmented-neural-ode"
    title = "Augmented neural ODE"
    group = "continuous"
    equation = "d/dt [h; a] = f([h; a], t; θ), a(0) = 0 ∈ ℝᵖ"
    reference = "Dupont et al. 2019, Augmented Neural ODEs"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int | None = None,
        augment: int = 8,
        solver: ODESolver = DEFAULT_SOLVER,
        t1: float = 1.0,
        time_dependent: bool | None = None,
        **kwargs: Any,
    ) -> None:
        lift = Augment(augment)

        def make(stage: Stage) -> ODEDynamics:
            width = stage.channels + augment
            field = stage.field(width, time_dependent=time_dependent)
            return ODEDynamics(field, solver, t1, width, lift)

        super().__init__(spec, make, channels=channels, **kwargs)
