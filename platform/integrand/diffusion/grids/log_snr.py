"""Equal steps in λ."""

from __future__ import annotations

import torch
from torch import Tensor

from ..processes import Process
from .base import TimeGrid


class LogSNRGrid(TimeGrid):
    """Equal steps in λ = log(α/σ) (Lu et al. 2022, DPM-Solver, Sec. 3.4)."""

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """See `TimeGrid`.

        Raises:
            GridError: There is no signal at the first time.
        """
        first, last = self.signalled(process, start, end)
        return process.time(torch.linspace(first.log_snr, last.log_snr, steps + 1, dtype=torch.float64))
