"""The noise levels between which a consistency model is trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.solvers.options import require_ascending, require_positive

RHO = 7.0
"""Levels are equally spaced in σ^{1/ρ} (Karras et al. 2022, Eq. 5)."""


class ConsistencyLevels:
    """Neighbouring levels σ_i < σ_{i+1}, drawn from a log-normal, on a grid that is refined in training.

    Song & Dhariwal 2024, Improved Techniques for Training Consistency Models.

    Args:
        sigma_min: Lowest level; the consistency function is the identity there.
        sigma_max: Highest level, that of the noise that sampling begins with.
        coarsest: Intervals of the grid at the beginning.
        finest: Intervals at the end, after doublings at equal shares of the training.
        mean: P_mean of ln σ.
        std: P_std of ln σ.

    Raises:
        UsageError: The numbers of intervals are out of order.
    """

    def __init__(
        self,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        coarsest: int = 10,
        finest: int = 160,
        mean: float = -1.1,
        std: float = 2.0,
    ) -> None:
        require_positive(sigma_min=sigma_min, sigma_max=sigma_max, std=std)
        require_ascending(sigma_min=sigma_min, sigma_max=sigma_max)
        if not 1 <= coarsest <= finest:
            raise UsageError(
                f"the grid cannot be refined from {coarsest} to {finest} intervals",
                "set coarsest to 10 and finest to 160",
            )
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.coarsest, self.finest, self.mean, self.std = coarsest, finest, mean, std

    def intervals(self, progress: float) -> int:
        """How many intervals the grid has after a share `progress` of the training."""
        doublings = int(math.log2(self.finest / self.coarsest))
        stage = min(int(progress * (doublings + 1)), doublings)
        return self.finest if stage == doublings else self.coarsest * 2**stage

    def grid(self, intervals: int) -> Tensor:
        """σ_1 = σ_min < … < σ_max, shape (intervals + 1,), float64."""
        low, high = self.sigma_min ** (1 / RHO), self.sigma_max ** (1 / RHO)
        return torch.linspace(low, high, intervals + 1, dtype=torch.float64) ** RHO

    def probabilities(self, grid: Tensor) -> Tensor:
        """Of each interval: the log-normal's mass between its ends, shape (intervals,)."""
        ends = torch.erf((grid.log() - self.mean) / (math.sqrt(2) * self.std))
        mass = ends.diff()
        return mass / mass.sum()

    def draw(self, n: int, progress: float, device: torch.device) -> tuple[Tensor, Tensor]:
        """Lower and upper levels of n intervals, each of shape (n,), float32, by the global generator."""
        grid = self.grid(self.intervals(progress))
        weights = self.probabilities(grid).to(device, torch.float32)
        i = torch.multinomial(weights, n, replacement=True)
        grid = grid.to(device, torch.float32)
        return grid[i], grid[i + 1]

    def steps(self, num_steps: int) -> list[float]:
        """σ_max and the levels that sampling goes back up to, downwards, as many as there are steps."""
        return [float(sigma) for sigma in self.grid(num_steps).flip(0)[:-1]]
