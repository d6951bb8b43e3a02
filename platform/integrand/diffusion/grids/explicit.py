"""Times written down one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import GridError
from ..processes import Process
from .base import TimeGrid


class ExplicitGrid(TimeGrid):
    """The given times.

    Args:
        times: Decreasing times, at least two; a last time of 0 is the data.
    """

    def __init__(self, times: Sequence[float]) -> None:
        values = [float(t) for t in times]
        if len(values) < 2:
            raise GridError(f"{len(values)} times make no step", "give at least two decreasing times")
        super().__init__(to_zero=values[-1] == 0)
        self.values = values

    @property
    def steps(self) -> int:
        """Number of steps, which is not to be chosen."""
        return len(self.values) - 1

    def times(self, process: Process, steps: int) -> Tensor:
        """The given times.

        Raises:
            GridError: Another number of steps is asked for, or the times do not decrease.
        """
        if steps != self.steps:
            raise GridError(
                f"{steps} steps on an explicit grid of {self.steps}", f"ask for steps={self.steps}, or none"
            )
        times = torch.tensor(self.values, dtype=torch.float64)
        if not bool((times.diff() < 0).all()):
            raise GridError("the explicit times do not decrease", "time runs from noise to data")
        return times

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """Not spaced: see `times`."""
        return self.times(process, steps)

    def ends(self, process: Process) -> tuple[float, float]:
        """First and last time."""
        return self.values[0], self.values[-1]
