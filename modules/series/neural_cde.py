"""Neural controlled differential equation (Kidger et al. 2020)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from integrand.series import Series
from integrand.solvers import CDESolver, RungeKutta
from integrand.spec import Spec

from .asked_times import with_times
from .base import Said, SeriesFamily
from .controls import Interpolation, SeriesControl
from .initial import Initial
from .matrix_field import MatrixField


class NeuralCDE(SeriesFamily):
    """Network whose hidden state is driven by a path through the observations.

    A forecast reads what is given and goes on while the time goes on and the values stand still; times within
    are read in passing.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        hidden: Width of the hidden layers of the field.
        depth: Number of hidden layers of the field.
        interpolation: The path through the observations: `hermite`, `linear`, `natural_cubic`, or
            `rectilinear`, which alone never looks ahead.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        solver: A Runge–Kutta method; its num_steps counts the steps from observation to observation. One step
            of RK4 where omitted: adaptive steps follow the noise of the data, at a hundred times the cost.
        **kwargs: See `SeriesFamily`.
    """

    family = "neural-cde"
    title = "Neural CDE"
    group = "series"
    equation = "dz = f(z; θ) dX, X a path through (t, x), z(t₀) = ζ(X(t₀); θ)"
    reference = (
        "Kidger et al. 2020, Neural Controlled Differential Equations for Irregular Time Series, eq. 4"
    )
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        depth: int = 2,
        interpolation: Interpolation = "hermite",
        counts: bool | None = None,
        solver: RungeKutta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        self.control = SeriesControl(self.spec, interpolation, counts)
        self.initial = Initial(self.spec, self.control.observed, channels)
        self.field = MatrixField(channels, self.control.channels, hidden, depth)
        self.solver = CDESolver(solver)

    def read(self, x: Series) -> Said:
        """The state at the last observation; see `SeriesFamily.read`."""
        control = self.control(x)
        solution = self.solver.solve(self.field, control, self.initial(x, control.starts[0]))
        return solution.ys[-1], [solution.stats]

    def forecast(self, x: Series, times: Tensor) -> Said:
        """A linear map of the state at each time; see `SeriesFamily.forecast`."""
        merged, index = with_times(x, times)
        control = self.control(merged)
        states = self.solver.solve(self.field, control, self.initial(x, control.starts[0]), control.knots)
        at = self.control.knots_per_gap * index
        z = states.ys.transpose(0, 1).gather(1, at.unsqueeze(-1).expand(-1, -1, states.ys.shape[-1]))
        return self.head(z), [states.stats]

    def describe_solver(self) -> tuple[str, str]:
        """Method and gradient mode in a few words."""
        return self.solver.describe(), self.solver.solver.gradient
