"""Grids that were optimised on published models."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice

from ..errors import GridError
from ..processes import DiscreteVP, Process
from .base import TimeGrid

Fitted = Literal["sd", "sdxl", "svd"]

STEPS = {
    "sd": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
}
LEVELS = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034)


class AlignYourSteps(TimeGrid):
    """Ten noise levels found for Stable Diffusion, and the data (Sabour et al. 2024, Align Your Steps, App.
    C).

    Other numbers of steps are interpolated evenly in log σ/α, as the authors say. They are good for those
    models; for others nothing is claimed.

    Args:
        fitted: For which model: `sd` (1.5) and `sdxl`, whole steps of a `DiscreteVP` of 1000, or `svd`
            (video), noise levels of any process.
    """

    def __init__(self, fitted: Fitted = "sd") -> None:
        require_choice("fitted", fitted, ("sd", "sdxl", "svd"))
        super().__init__(to_zero=True)
        self.fitted = fitted

    def times(self, process: Process, steps: int) -> Tensor:
        """See `TimeGrid`.

        Raises:
            GridError: Whole steps of a process that has none, or not 1000.
        """
        table = self._table(process)
        if steps == len(table):
            times = table
        else:
            known = torch.tensor([math.log(node.rho) for node in process.nodes(table)], dtype=torch.float64)
            at = torch.linspace(0, len(table) - 1, steps, dtype=torch.float64)
            left = at.floor().clamp(max=len(table) - 2).long()
            times = process.time(-torch.lerp(known[left], known[left + 1], at - left))
            times[0] = table[0]
        return torch.cat((times, torch.zeros(1, dtype=torch.float64)))

    def ends(self, process: Process) -> tuple[float, float]:
        """First and last of the ten."""
        table = self._table(process)
        return float(table[0]), float(table[-1])

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """Not spaced: see `times`."""
        return self.times(process, steps)

    def _table(self, process: Process) -> Tensor:
        if self.fitted == "svd":
            return process.time(-torch.tensor(LEVELS, dtype=torch.float64).log())
        if not isinstance(process, DiscreteVP) or process.num_steps != 1000:
            raise GridError(
                f"the steps fitted to {self.fitted} are of 1000, and this is {process.describe()}",
                "take a DiscreteVP of 1000 steps, fitted: svd, or another grid",
            )
        return process.time_of_index(torch.tensor(STEPS[self.fitted]))

    def describe(self) -> str:
        """Such as `align-your-steps sd`."""
        return f"align-your-steps {self.fitted}"
