"""Equal steps in √t."""

from __future__ import annotations

import torch
from torch import Tensor

from ..processes import Process
from .base import TimeGrid


class QuadraticGrid(TimeGrid):
    """Equal steps in √t: denser near the data (Song et al. 2020, DDIM, App. D.2)."""

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """See `TimeGrid`."""
        return torch.linspace(start**0.5, end**0.5, steps + 1, dtype=torch.float64).square()
