"""What the families share that step over windows of a series by its log-signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from integrand.errors import UsageError
from integrand.series import Series
from integrand.solvers import CDESolver, RungeKutta, log_signature_control
from integrand.solvers.control import log_signature_channels
from integrand.spec import Classes, Spec, Targets

from .base import Said, SeriesFamily
from .controls import Observed
from .initial import Initial

FieldMaker = Callable[[int, int], nn.Module]
"""Makes the field from the channels of the path and those of its log-signatures."""


class WindowedFamily(SeriesFamily):
    """A controlled equation that takes a step for each window of observations, by the log-ODE method.

    Args:
        spec: What the data set publishes.
        channels: Length of the hidden state.
        window: Gaps in a window.
        signature_depth: Depth of the log-signatures.
        counts: Whether the path tells how many values were seen; by default if values may be missing.
        solver: Steps of each window; see `CDESolver`.
        make: Makes the field.
        **kwargs: See `SeriesFamily`.

    Raises:
        UsageError: The window is empty.
    """

    answers = (Classes, Targets)

    def __init__(
        self,
        spec: Spec,
        channels: int,
        window: int,
        signature_depth: int,
        counts: bool | None,
        solver: RungeKutta | None,
        make: FieldMaker,
        **kwargs: Any,
    ) -> None:
        if window < 1:
            raise UsageError(f"window must be 1 or more, got {window}", "set model.window")
        super().__init__(spec, channels, **kwargs)
        self.window, self.signature_depth = window, signature_depth
        self.observed = Observed(self.spec, counts)
        self.initial = Initial(self.spec, self.observed, channels)
        columns = log_signature_channels(self.observed.channels, signature_depth)
        self.field = make(self.observed.channels, columns)
        self.solver = CDESolver(solver)

    def read(self, x: Series) -> Said:
        """The state behind the last window; see `SeriesFamily.read`."""
        rows, knots = self.observed.rows(x), self.observed.knots(x)
        control = log_signature_control(rows, self.window, self.signature_depth, knots)
        z0 = self.initial(x, self.observed.filled(x)[:, 0])
        solution = self.solver.solve(self.field, control, z0)
        return solution.ys[-1], [solution.stats]

    def describe_solver(self) -> tuple[str, str]:
        """Method and gradient mode in a few words."""
        return self.solver.describe(), self.solver.solver.gradient
