"""The contract of time grids: where a sampler's steps lie."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..errors import GridError
from ..processes import Node, Process


class TimeGrid(ABC):
    """Chooses the times of a sampler's steps, from noise to data.

    Args:
        t_start: First time; the process's t_max where not given.
        t_end: Last time before the data; the process's t_min where not given.
        to_zero: Whether the last step goes on from t_end to the data, t = 0; every sampler takes it as one
            evaluation, x = α(0) times the predicted x_0.
    """

    def __init__(
        self, t_start: float | None = None, t_end: float | None = None, to_zero: bool = False
    ) -> None:
        self.t_start, self.t_end, self.to_zero = t_start, t_end, to_zero

    def times(self, process: Process, steps: int) -> Tensor:
        """The times of `steps` steps, shape (steps + 1,), float64, strictly decreasing.

        Raises:
            GridError: The times do not decrease or leave the process.
        """
        inner = steps - self.to_zero
        start, end = self.ends(process)
        if inner > 0:
            times = self.spaced(process, start, end, inner)
            # spacing in another variable and back may miss the ends by a rounding
            times[0], times[-1] = start, end
        else:
            times = torch.tensor([start], dtype=torch.float64)
        if self.to_zero:
            times = torch.cat((times, times.new_zeros(1)))
        if not bool((times.diff() < 0).all()):
            raise GridError(
                f"{self.describe()} with {steps} steps gives times that do not decrease", "check its ends"
            )
        return times

    def ends(self, process: Process) -> tuple[float, float]:
        """First and last time of the spacing.

        Raises:
            GridError: They do not decrease.
        """
        start = process.t_max if self.t_start is None else self.t_start
        end = process.t_min if self.t_end is None else self.t_end
        if not start > end:
            raise GridError(
                f"the grid starts at t={start:g} and ends at t={end:g}", "time runs from noise to data"
            )
        return start, end

    @abstractmethod
    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """Steps + 1 times from start to end, float64."""

    def signalled(self, process: Process, start: float, end: float) -> list[Node]:
        """First and last time, refused where α = 0 at the first, for grids even in a function of λ.

        Raises:
            GridError: It is one.
        """
        ends = process.nodes(torch.tensor([start, end], dtype=torch.float64))
        if ends[0].alpha == 0:
            where = f"t={start:g} of {process.describe()}"
            raise GridError(
                f"λ = −∞ at the first time {where}: no start for {self.describe()}",
                "take UniformGrid or DiscreteGrid, or start a little later",
            )
        return ends

    def describe(self) -> str:
        """The grid in a few words."""
        return type(self).__name__.lower() + (" to zero" if self.to_zero else "")
