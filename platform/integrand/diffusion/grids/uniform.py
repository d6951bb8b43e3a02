"""Equal steps in time."""

from __future__ import annotations

import torch
from torch import Tensor

from ..processes import Process
from .base import TimeGrid


class UniformGrid(TimeGrid):
    """Equal steps in t."""

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """See `TimeGrid`."""
        return torch.linspace(start, end, steps + 1, dtype=torch.float64)
