"""ODE-RNN: a GRU whose state follows an ODE between observations."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from integrand.series import Series
from integrand.solvers import RungeKutta
from integrand.spec import Spec

from .asked_times import with_times
from .base import Said, SeriesFamily
from .observations import rows, unread
from .recurrence import GAPS_PER_UNIT, LOCKSTEP, ODERecurrence
from .units import time_unit


class ODERNN(SeriesFamily):
    """A recurrent network whose state follows an ODE between observations and jumps at each.

    A forecast is read off the state before anything is observed at its time. In training every observation
    but the first is forecast too, from those before it.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Length of the hidden state.
        hidden: Width of the field's hidden layers.
        one_step: Weight of the forecasts of observations that are given, in training on forecasts.
        unit: Unit of time of the field; five median gaps of the data where not given.
        solver: An explicit Runge–Kutta method; its steps are counted in each gap.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: The unit is not positive.
    """

    family = "ode-rnn"
    title = "ODE-RNN"
    group = "series"
    equation = "h'_i = ODESolve(f, h_{i−1}, t_{i−1}, t_i), h_i = GRU(x_i, h'_i)"
    reference = "Rubanova et al. 2019, Latent ODEs for Irregularly-Sampled Time Series, algorithm 1"
    uses_solver = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        hidden: int = 32,
        one_step: float = 1.0,
        unit: float | None = None,
        solver: RungeKutta = LOCKSTEP,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, channels, **kwargs)
        unit = time_unit(GAPS_PER_UNIT * self.spec.step, unit)
        self.recurrence = ODERecurrence(self.spec, channels, hidden, unit)
        self.solver, self.one_step = solver, one_step
        self._penalty: dict[str, Tensor] = {}

    def read(self, x: Series) -> Said:
        """The state after the last observation."""
        found = self.recurrence(x, self.solver)
        return found.after[-1], [found.stats]

    def forecast(self, x: Series, times: Tensor) -> Said:
        """The head of the state at each time."""
        whole, place = with_times(x, times)
        found = self.recurrence(whole, self.solver)
        if self.training:
            expected = self.head(found.before.transpose(0, 1))
            self._penalty = {"one_step": self.one_step * self.task.loss(expected, unread(whole))}
        return self.head(rows(found.after.transpose(0, 1), place)), [found.stats]

    def penalty(self) -> dict[str, Tensor]:
        """The loss of one-step forecasts of what is given; see `FamilyModule.penalty`."""
        kept, self._penalty = self._penalty, {}
        return kept
