"""Integer steps of a DDPM model, with the spacings that published results differ in."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from integrand.solvers.options import require_choice

from ..errors import GridError
from ..processes import DiscreteVP, Process
from .base import TimeGrid

Spacing = Literal["leading", "linspace", "trailing"]


class DiscreteGrid(TimeGrid):
    """Steps of a `DiscreteVP` that are whole numbers, ending at the data.

    The spacing changes sample quality and is part of a published result (Lin et al. 2024, Table 2).

    Args:
        spacing: `leading` counts up in equal whole steps from `offset`, `trailing` down from N, `linspace`
            rounds equal steps from N − 1 to 0.
        offset: First step of `leading`.
    """

    def __init__(self, spacing: Spacing = "trailing", offset: int = 0) -> None:
        require_choice("spacing", spacing, ("leading", "linspace", "trailing"))
        super().__init__(to_zero=True)
        self.spacing, self.offset = spacing, offset

    def times(self, process: Process, steps: int) -> Tensor:
        """See `TimeGrid`.

        Raises:
            GridError: The process is not discrete, or has fewer steps.
        """
        if not isinstance(process, DiscreteVP):
            raise GridError(f"{process.describe()} has no whole steps", "use UniformGrid or LogSNRGrid")
        n = process.num_steps
        if steps > n:
            raise GridError(f"{steps} steps of a process that has {n}", f"ask for at most {n}")
        if self.spacing == "leading":
            k = torch.arange(steps, dtype=torch.float64).flip(0) * (n // steps) + self.offset
        elif self.spacing == "trailing":
            k = (n - torch.arange(steps, dtype=torch.float64) * (n / steps)).round() - 1
        else:
            k = torch.linspace(n - 1, 0, steps, dtype=torch.float64).round()
        return torch.cat((process.time_of_index(k), torch.zeros(1, dtype=torch.float64)))

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """Not spaced: see `times`."""
        return self.times(process, steps)

    def describe(self) -> str:
        """Such as `discrete trailing`."""
        return f"discrete {self.spacing}"
