"""Steps that shrink with the noise level, as EDM takes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.solvers.options import require_ascending, require_positive

from ..processes import Process
from .base import TimeGrid


class KarrasGrid(TimeGrid):
    """Equal steps in (σ/α)^{1/ρ} (Karras et al. 2022, Eq. 5).

    Args:
        rho: ρ; 7 spends most steps near the data, 1 spaces σ/α equally.
        sigma_min: Last noise level σ/α; that of the process's t_min where not given.
        sigma_max: First noise level σ/α; that of t_max where not given.
        to_zero: Whether a last step goes on to the data.
    """

    def __init__(
        self,
        rho: float = 7.0,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        to_zero: bool = False,
    ) -> None:
        require_positive(rho=rho, sigma_min=sigma_min, sigma_max=sigma_max)
        if sigma_min is not None and sigma_max is not None:
            require_ascending(sigma_min=sigma_min, sigma_max=sigma_max)
        super().__init__(to_zero=to_zero)
        self.rho, self.sigma_min, self.sigma_max = rho, sigma_min, sigma_max

    def ends(self, process: Process) -> tuple[float, float]:
        """The times of sigma_max and sigma_min."""
        start, end = super().ends(process)
        if self.sigma_max is not None:
            start = process.node_at(-math.log(self.sigma_max)).t
        if self.sigma_min is not None:
            end = process.node_at(-math.log(self.sigma_min)).t
        return start, end

    def spaced(self, process: Process, start: float, end: float, steps: int) -> Tensor:
        """See `TimeGrid`.

        Raises:
            GridError: There is no signal at the first time.
        """
        first, last = (node.rho ** (1 / self.rho) for node in self.signalled(process, start, end))
        levels = torch.linspace(first, last, steps + 1, dtype=torch.float64) ** self.rho
        return process.time(-levels.log())
