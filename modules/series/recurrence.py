"""A state that follows an equation between observations and jumps at each: what ODE-RNNs are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integrand.series import Series
from integrand.solvers import RK4, RungeKutta, Updated, solve_with_updates
from integrand.spec import SeriesSpec

from ..bench.vector import VectorField
from ..defaults import default
from .observations import seen, told, told_size

LOCKSTEP: RungeKutta = default(RK4, num_steps=1)
"""One step for each gap: as accurate as most data are, and no series sees the times of another."""
GAPS_PER_UNIT = 5.0
"""Median gaps in one unit of time: a field of order 1 then moves little in a gap, and steps are stable."""


class ODERecurrence(nn.Module):
    """h'_i = ODESolve(f, h_{i−1}, t_{i−1}, t_i), h_i = GRU(x_i, h'_i); at unobserved times nothing jumps.

    Args:
        spec: Channels and static numbers, and whether time enters the field.
        width: Length of the hidden state.
        hidden: Width of the field's hidden layers.
        unit: Unit of time of the field.
    """

    def __init__(self, spec: SeriesSpec, width: int, hidden: int, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.field: nn.Module = VectorField(width, time_dependent=not spec.autonomous, hidden=hidden)
        self.cell = nn.GRUCell(told_size(spec, gaps=False), width)

    def forward(self, x: Series, solver: RungeKutta) -> Updated:
        """States before and after every observation of series in either direction of time.

        Args:
            x: The series.
            solver: What integrates between observations.
        """
        inputs, jumps = told(x).unbind(1), seen(x)[..., None].unbind(1)

        def update(i: int, h: Tensor) -> Tensor:
            return torch.where(jumps[i], self.cell(inputs[i], h), h)

        start = x.values.new_zeros(len(x), self.cell.hidden_size)
        return solve_with_updates(solver, self.field, start, x.times / self.unit, update)
