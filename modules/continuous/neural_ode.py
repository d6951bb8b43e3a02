"""Neural ODE (Chen et al. 2018)."""

from __future__ import annotations

from typing import Any

from integrand.solvers import ODESolver
from integrand.spec import Spec

from ..bench import BenchFamily, Stage
from .ode import DEFAULT_SOLVER, ODEDynamics


class NeuralODE(BenchFamily):
    """Network whose hidden state follows a learned ODE.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels of the hidden state; by default 32, or those of the state that is observed.
        solver: What integrates the field.
        t1: End of the interval [0, t1].
        time_dependent: Whether the field sees t as a further channel; by default where the law may change.
        **kwargs: See `BenchFamily`.
    """

    family = "neural-ode"
    title = "Neural ODE"
    group = "continuous"
    equation = "ḣ = f(h, t; θ)"
    reference = "Chen et al. 2018, Neural Ordinary Differential Equations, eq. 2"
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
            field = stage.field(stage.channels, time_dependent=time_dependent)
            return ODEDynamics(field, solver, t1, stage.channels)

        super().__init__(spec, make, channels=channels, **kwargs)
