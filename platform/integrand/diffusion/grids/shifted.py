"""Equal steps in time, shifted towards the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from integrand.solvers.options import require_positive

from ..processes import Process
from .base import TimeGrid


class ShiftedGrid(TimeGrid):
    """t = κ u/(1 + (κ − 1) u) with equal steps in u, times in units of t_max (Esser et al. 2024, Eq. 23).

    On `LinearFlow` the noise level t/(1 − t) grows by the factor κ. To the data the steps are equal all the
    way: the last goes from u = 1/n to 0.

    Args:
        shift: κ; 1 is `UniformGrid`, 3 that of Stable Diffusion 3.
        t_start: First time; the process's t_max where not given.
        t_end: Last time before the data, where the steps do not go on to it.
        to_zero: Whether the last step goes to the data.
    """

    def __init__(
        self,
        shift: float = 3.0,
        t_start: float | None = None,
        t_end: float | None = None,
        to_zero: bool = True,
    ) -> None:
        require_positive(shift=shift)
        super().__init__(t_start, t_end, to_zero)
        self.shift = shift

    def times(self, process: Process, steps: int) -> Tensor:
        """See `TimeGrid`."""
        if not self.to_zero:
            return super().times(process, steps)
        start, _ = self.ends(process)
        return self.spaced(process, start, 0.0, steps)

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """See `TimeGrid`."""
        ends = torch.tensor([start, end], dtype=torch.float64) / process.t_max
        first, last = (ends / (self.shift - (self.shift - 1) * ends)).tolist()
        u = torch.linspace(first, last, steps + 1, dtype=torch.float64)
        times = process.t_max * self.shift * u / (1 + (self.shift - 1) * u)
        times[0], times[-1] = start, end
        return times

    def describe(self) -> str:
        """Such as `shifted by 3 to zero`."""
        return f"shifted by {self.shift:g}" + (" to zero" if self.to_zero else "")
